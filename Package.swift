// swift-tools-version:5.9
import PackageDescription

let package = Package(
    name: "MobileSAM",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "MobileSAM", targets: ["MobileSAM"])],
    targets: [
        .target(name: "MobileSAM", path: "apps/apple/Sources/MobileSAM"),
        .testTarget(
            name: "MobileSAMTests",
            dependencies: ["MobileSAM"],
            path: "apps/apple/Tests/MobileSAMTests",
            resources: [.copy("Fixtures")]
        ),
    ]
)
