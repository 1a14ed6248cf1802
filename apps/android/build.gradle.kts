// Not built here: Google's Maven repository could not be reached. See README.md.
// Version 9 compiles Kotlin by itself, without a plugin for it.
plugins {
    id("com.android.library") version "9.1.0" apply false
    id("com.android.application") version "9.1.0" apply false
}
