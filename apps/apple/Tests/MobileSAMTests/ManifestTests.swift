import XCTest

@testable import MobileSAM

final class ManifestTests: XCTestCase {
    private func manifest(_ extra: String = "", version: String = "1.0", file: String = "") throws
        -> Manifest
    {
        let text = """
            {"contract_version": "\(version)", "target": "coreml", "scheme": {"name": "fp16",
            "meaning": "halves"}, "variant": "vit_t", "image_size": 1024, "stride": 16,
            "input_variant": "pixels", "slots": 8, \(extra)
            "files": [{"path": "encoder.mlpackage", "component": "encoder"\(file)}]}
            """
        return try Manifest(json: Data(text.utf8))
    }

    func testFieldsThatMayBeAbsent() throws {
        let plain = try manifest()
        XCTAssertEqual(plain.lowResSize, 256)
        XCTAssertEqual(plain.acceptedSlots, [8])
        XCTAssertFalse(plain.takesImage)
        XCTAssertFalse(plain.appNormalizes)
        XCTAssertNil(try plain.file("encoder").function)
    }

    func testFieldsOfFlexibleAndImagePackages() throws {
        let flexible = try manifest(
            #""slot_counts": [16, 2, 8], "options": {"input": "image"},"#,
            file: #", "function": "encode""#)
        XCTAssertEqual(flexible.acceptedSlots, [2, 8, 16])
        XCTAssertTrue(flexible.takesImage)
        XCTAssertEqual(try flexible.file("encoder").function, "encode")
        XCTAssertEqual(try manifest(#""slot_counts": [],"#).acceptedSlots, [8])
    }

    func testAnotherContractIsRefused() throws {
        XCTAssertThrowsError(try manifest(version: "2.0")) { error in
            XCTAssertTrue(error.localizedDescription.contains("follows contract 2.0"))
        }
        XCTAssertEqual(try manifest(version: "1.7").contractVersion, "1.7")
    }

    func testAMissingComponentIsRefused() throws {
        XCTAssertThrowsError(try manifest().file("decoder"))
    }

    func testARealManifest() throws {
        guard let path = ProcessInfo.processInfo.environment["MOBILESAM_BUNDLE"] else {
            throw XCTSkip("Set MOBILESAM_BUNDLE to the folder of a bundle.")
        }
        let real = try Manifest(bundle: URL(fileURLWithPath: path, isDirectory: true))
        XCTAssertEqual(real.target, "coreml")
        XCTAssertNoThrow(try real.file("decoder"))
    }
}
