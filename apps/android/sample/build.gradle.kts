// Not built here: Google's Maven repository could not be reached. See README.md.
plugins {
    id("com.android.application")
}

android {
    namespace = "mobilesam.sample"
    compileSdk = 36
    defaultConfig {
        applicationId = "mobilesam.sample"
        minSdk = 28 // ImageDecoder, which turns photos upright
        targetSdk = 36
        versionCode = 1
        versionName = "1"
    }
    androidResources { noCompress += "tflite" } // so that the files can be mapped
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    implementation(project(":mobilesam"))
}
