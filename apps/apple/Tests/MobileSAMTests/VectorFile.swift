import Foundation
import XCTest

/// `Fixtures/vectors.json`: what `python -m parity.host_vectors` of the toolkit wrote.
struct VectorFile: Decodable {
    struct FrameVector: Decodable {
        let size: [Int]
        let side: Int
        let validSize: [Int]?
    }

    struct PromptVector: Decodable {
        let size: [Int]
        let side: Int
        let points: [[Float]]
        let labels: [Int]
        let box: [Float]?
        let earlierLogits: Bool
        let slotCounts: [Int]
        let coords: [Float]?
        let slotLabels: [Float]?
        let ambiguous: Bool?
    }

    struct ChoiceVector: Decodable {
        let iou: [Float]
        let ambiguous: Bool
        let chosen: Int
    }

    struct ScalingVector: Decodable {
        let size: [Int]
        let side: Int
        let pixels: Data
        let scaledSize: [Int]
        let scaled: Data
        let levels: Int
    }

    struct PlanesVector: Decodable {
        let size: [Int]
        let side: Int
        let pixels: Data
        let planes: Data
        let validSize: [Float]
        let normalized: [Float]
    }

    struct UpscalingVector: Decodable {
        let kind: String
        let size: [Int]
        let side: Int
        let lowRes: [Float]
        let logits: [Float]
        let mask: [String]
    }

    let logitTolerance: Float
    let frames: [FrameVector]
    let prompts: [PromptVector]
    let choices: [ChoiceVector]
    let scaling: [ScalingVector]
    let planes: [PlanesVector]
    let upscaling: [UpscalingVector]

    static func read() throws -> VectorFile {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(
            VectorFile.self, from: Data(contentsOf: fixture("vectors.json")))
    }
}

/// A file or folder of `Fixtures`.
func fixture(_ name: String) throws -> URL {
    let resources = try XCTUnwrap(Bundle.module.resourceURL)
    return resources.appendingPathComponent("Fixtures").appendingPathComponent(name)
}
