// Not built here: Google's Maven repository could not be reached. See README.md.
plugins {
    id("com.android.library")
}

android {
    namespace = "mobilesam"
    compileSdk = 36
    defaultConfig { minSdk = 24 }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    implementation("com.google.ai.edge.litert:litert:2.1.5")
    testImplementation("junit:junit:4.13.2")
    testImplementation("org.json:json:20240303") // Android's own only throws in unit tests
}

tasks.withType<Test>().configureEach {
    environment(
        "MOBILESAM_VECTORS",
        rootDir.resolve("../apple/Tests/MobileSAMTests/Fixtures/vectors.json").path,
    )
}
