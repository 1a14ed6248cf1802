import XCTest

@testable import MobileSAM

final class PixelBytesTests: XCTestCase {
    func testTheFrameIsWrittenAsBGRAWithPaddedRows() {
        // Two by two: R, G and B planes.
        let planes: [Float] = [1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 255]
        var bytes = [UInt8](repeating: 77, count: 2 * 12)
        bytes.withUnsafeMutableBytes { writeBGRA(planes: planes, side: 2, to: $0, bytesPerRow: 12) }
        XCTAssertEqual(
            bytes,
            [
                21, 11, 1, 255, 22, 12, 2, 255, 77, 77, 77, 77,
                23, 13, 3, 255, 255, 14, 4, 255, 77, 77, 77, 77,
            ])
    }

    func testAnImageIsReadFromBGRAWithPaddedRows() {
        let bytes: [UInt8] = [3, 2, 1, 255, 6, 5, 4, 0, 77, 77, 9, 8, 7, 255, 12, 11, 10, 1, 77, 77]
        let image = bytes.withUnsafeBytes {
            RGBImage(bgra: $0, height: 2, width: 2, bytesPerRow: 10)
        }
        XCTAssertEqual(
            image, RGBImage(height: 2, width: 2, pixels: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]))
    }
}
