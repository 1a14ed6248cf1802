// Not built here: Google's Maven repository could not be reached. See README.md.
pluginManagement {
    repositories {
        google()
        mavenCentral()
    }
}
dependencyResolutionManagement {
    repositories {
        google()
        mavenCentral()
    }
}
rootProject.name = "mobilesam-android"
include(":mobilesam", ":sample")
