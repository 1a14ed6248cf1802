import XCTest

@testable import MobileSAM

/// Golden vectors without a model: photo and prompts to tensors, logits to masks, value for value.
///
/// MOBILESAM_GOLDEN names the folder, or several with colons between them.
final class GoldenArithmeticTests: XCTestCase {
    private func folders() throws -> [URL] {
        guard let paths = ProcessInfo.processInfo.environment["MOBILESAM_GOLDEN"] else {
            throw XCTSkip("Set MOBILESAM_GOLDEN to what 'mobilesam golden' wrote.")
        }
        return paths.split(separator: ":").map { URL(fileURLWithPath: String($0)) }
    }

    private func frame(_ golden: GoldenFolder) throws -> Frame {
        try Frame(
            height: golden.originalSize[0], width: golden.originalSize[1], side: golden.imageSize)
    }

    func testPhotosBecomeTheEncodersInputs() throws {
        for folder in try folders() {
            let golden = try GoldenFolder.read(folder)
            let frame = try frame(golden)
            let pixels = try Data(contentsOf: folder.appendingPathComponent(golden.photo))
            let photo = RGBImage(height: frame.height, width: frame.width, pixels: [UInt8](pixels))
            let normalized = golden.inputVariant == "normalized"
            let found = planes(of: photo.scaled(to: frame), in: frame, normalized: normalized)
            let expected = try golden.encoder.inputs.values(TensorName.image, in: folder)
            assertSame(found, expected, folder.lastPathComponent)
            if !normalized {
                let valid = try golden.encoder.inputs.values(TensorName.validSize, in: folder)
                XCTAssertEqual([Float(frame.validHeight), Float(frame.validWidth)], valid)
            }
        }
    }

    func testPromptsBecomeTheDecodersInputs() throws {
        for folder in try folders() {
            let golden = try GoldenFolder.read(folder)
            let frame = try frame(golden)
            for record in golden.cases {
                let refines =
                    try record.inputs.values(TensorName.hasMaskInput, in: folder) == [1]
                let prompt = Prompt(
                    points: zip(record.points, record.labels).map {
                        Prompt.Point(x: $0[0], y: $0[1], isForeground: $1 == 1)
                    },
                    box: record.box.map { Prompt.Box(x1: $0[0], y1: $0[1], x2: $0[2], y2: $0[3]) },
                    earlierLogits: refines
                        ? try record.inputs.values(TensorName.maskInput, in: folder) : nil)
                let labels = try record.inputs.values(TensorName.pointLabels, in: folder)
                let checked = try prompt.checked(height: frame.height, width: frame.width)
                let packed = try checked.packed(in: frame, acceptedSlots: [labels.count])
                let coords = try record.inputs.values(TensorName.pointCoords, in: folder)
                assertSame(packed.coords, coords, record.name)
                assertSame(packed.labels, labels, record.name)
                XCTAssertEqual(prompt.isAmbiguous, record.ambiguous, record.name)
            }
        }
    }

    func testLogitsBecomeTheMaskToShow() throws {
        var masks = 0
        for folder in try folders() {
            let golden = try GoldenFolder.read(folder)
            let frame = try frame(golden)
            for record in golden.cases {
                let iou = try record.outputs.values(TensorName.iouPredictions, in: folder)
                let chosen = chosenMask(iouPredictions: iou, isAmbiguous: record.ambiguous)
                XCTAssertEqual(chosen, record.chosen, record.name)
                let logits = try record.outputs.values(TensorName.lowResMasks, in: folder)
                let side = Int(Double(logits.count / maskCount).squareRoot())
                let answer = Answer(
                    frame: frame, lowResSize: side, lowResLogits: logits, iouPredictions: iou,
                    chosen: chosen)
                let bits = try Data(contentsOf: folder.appendingPathComponent(record.mask))
                let expected = (0..<(frame.height * frame.width)).map { (index: Int) -> Bool in
                    let byte: UInt8 = bits[index / 8]
                    return (byte >> UInt8(7 - index % 8)) & 1 == 1
                }
                assertSame(answer.mask(), expected, record.name)
                masks += 1
            }
        }
        print("golden vectors: \(masks) masks compared")
    }

    private func assertSame<Value: Equatable>(
        _ found: [Value], _ expected: [Value], _ name: String
    ) {
        XCTAssertEqual(found.count, expected.count, name)
        let differing = zip(found, expected).filter { $0 != $1 }.count
        XCTAssertEqual(differing, 0, "\(name): differing values")
    }
}
