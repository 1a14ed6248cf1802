import XCTest

@testable import MobileSAM

/// The arithmetic around the models, held against numbers that the toolkit computed.
final class VectorTests: XCTestCase {
    private static let file = Result { try VectorFile.read() }

    private func vectors() throws -> VectorFile { try Self.file.get() }

    func testFrames() throws {
        for vector in try vectors().frames {
            let frame = try? Frame(height: vector.size[0], width: vector.size[1], side: vector.side)
            XCTAssertEqual(
                frame.map { [$0.validHeight, $0.validWidth] }, vector.validSize,
                "\(vector.size) in a frame of \(vector.side)")
        }
    }

    func testPromptsArePackedIntoSlots() throws {
        for vector in try vectors().prompts {
            let frame = try Frame(height: vector.size[0], width: vector.size[1], side: vector.side)
            let prompt = Prompt(
                points: zip(vector.points, vector.labels).map {
                    Prompt.Point(x: $0[0], y: $0[1], isForeground: $1 == 1)
                },
                box: vector.box.map { Prompt.Box(x1: $0[0], y1: $0[1], x2: $0[2], y2: $0[3]) },
                earlierLogits: vector.earlierLogits ? [0] : nil)
            let checked = try? prompt.checked(height: frame.height, width: frame.width)
            let packed = try? checked?.packed(in: frame, acceptedSlots: vector.slotCounts)
            XCTAssertEqual(packed?.coords, vector.coords, "\(vector)")
            XCTAssertEqual(packed?.labels, vector.slotLabels, "\(vector)")
            if let ambiguous = vector.ambiguous {
                XCTAssertEqual(checked?.isAmbiguous, ambiguous, "\(vector)")
            }
        }
    }

    func testTheMaskToShow() throws {
        for vector in try vectors().choices {
            XCTAssertEqual(
                chosenMask(iouPredictions: vector.iou, isAmbiguous: vector.ambiguous),
                vector.chosen, "\(vector)")
        }
    }

    func testPhotosAreScaled() throws {
        for vector in try vectors().scaling {
            let photo = RGBImage(
                height: vector.size[0], width: vector.size[1], pixels: [UInt8](vector.pixels))
            let frame = try Frame(height: photo.height, width: photo.width, side: vector.side)
            let scaled = photo.scaled(to: frame)
            XCTAssertEqual([scaled.height, scaled.width], vector.scaledSize)
            XCTAssertEqual(scaled.pixels.count, vector.scaled.count)
            let apart = zip(scaled.pixels, vector.scaled).map { abs(Int($0) - Int($1)) }.max()
            XCTAssertLessThanOrEqual(try XCTUnwrap(apart), vector.levels, "\(vector.size)")
        }
    }

    func testPhotosArePlacedInTheFrame() throws {
        for vector in try vectors().planes {
            let photo = RGBImage(
                height: vector.size[0], width: vector.size[1], pixels: [UInt8](vector.pixels))
            let frame = try Frame(height: photo.height, width: photo.width, side: vector.side)
            XCTAssertEqual(
                [Float(frame.validHeight), Float(frame.validWidth)], vector.validSize)
            XCTAssertEqual(
                planes(of: photo, in: frame, normalized: false), vector.planes.map { Float($0) })
            assertClose(
                planes(of: photo, in: frame, normalized: true), vector.normalized, within: 1e-6,
                "\(vector.size)")
        }
    }

    func testLogitsAreUpscaledAndThresholded() throws {
        let file = try vectors()
        for vector in file.upscaling {
            let frame = try Frame(height: vector.size[0], width: vector.size[1], side: vector.side)
            let name = "\(vector.kind), \(vector.size)"
            let lowResSize = vector.side / 4
            let answer = Answer(
                frame: frame, lowResSize: lowResSize,
                // The vector's logits as mask 2 of four.
                lowResLogits: [Float](repeating: -1, count: 2 * vector.lowRes.count)
                    + vector.lowRes + [Float](repeating: -1, count: vector.lowRes.count),
                iouPredictions: [0, 0, 1, 0], chosen: 2)
            let logits = answer.logits(of: 2)
            assertClose(logits, vector.logits, within: file.logitTolerance, name)
            let mask = answer.mask()
            let expected = vector.mask.joined().map { $0 == "1" }
            XCTAssertEqual(mask.count, expected.count, name)
            // Where rounding cannot decide; exact zeros are no mask anywhere.
            for index in expected.indices where
                abs(vector.logits[index]) > file.logitTolerance || vector.logits[index] == 0
            {
                XCTAssertEqual(mask[index], expected[index], "\(name), pixel \(index)")
            }
        }
    }

    private func assertClose(
        _ found: [Float], _ expected: [Float], within tolerance: Float, _ name: String
    ) {
        XCTAssertEqual(found.count, expected.count, name)
        let apart = zip(found, expected).map { abs($0 - $1) }.max() ?? .infinity
        XCTAssertLessThanOrEqual(apart, tolerance, name)
    }
}
