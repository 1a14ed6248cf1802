import Foundation

/// A folder that `mobilesam golden` wrote: raw tensors and what PyTorch made of them.
struct GoldenFolder: Decodable {
    struct TensorFile: Decodable {
        let name: String
        let shape: [Int]
        let file: String
    }

    struct Encoder: Decodable {
        let inputs: [TensorFile]
        let outputs: [TensorFile]
    }

    struct Case: Decodable {
        let name: String
        let inputs: [TensorFile]
        let outputs: [TensorFile]
        /// A lone point, which is offered three masks to choose from.
        let ambiguous: Bool
        /// In pixels of the photo; with an input `has_mask_input` of 1 the prompt has logits too.
        let points: [[Float]]
        let labels: [Int]
        let box: [Float]?
        let chosen: Int
        /// File of the chosen mask at the photo's size, a bit a pixel.
        let mask: String
        let degenerate: [Bool]
    }

    struct EncoderLimits: Decodable {
        let relativeL2: Double
        let cosine: Double
        let psnrDb: Double

        private enum CodingKeys: String, CodingKey {
            case relativeL2 = "relative_l2"
            case cosine
            case psnrDb = "psnr_db"
        }
    }

    struct MaskLimits: Decodable {
        let logitsRelativeL2: Double
        let maskIouMin: Double
        let iouPrediction: Double

        private enum CodingKeys: String, CodingKey {
            case logitsRelativeL2 = "logits_relative_l2"
            case maskIouMin = "mask_iou_min"
            case iouPrediction = "iou_prediction"
        }
    }

    struct Limits: Decodable {
        let encoder: EncoderLimits
        let decoder: MaskLimits
        let endToEnd: MaskLimits

        private enum CodingKeys: String, CodingKey {
            case encoder, decoder
            case endToEnd = "end_to_end"
        }
    }

    let bundle: String
    let image: String
    let imageSize: Int
    let originalSize: [Int]
    /// File of the photo's pixels, rows of R, G, B.
    let photo: String
    let inputVariant: String
    let encoder: Encoder
    let cases: [Case]
    let limits: Limits

    private enum CodingKeys: String, CodingKey {
        case bundle, image
        case imageSize = "image_size"
        case originalSize = "original_size"
        case photo
        case inputVariant = "input_variant"
        case encoder, cases, limits
    }

    static func read(_ folder: URL) throws -> GoldenFolder {
        let index = folder.appendingPathComponent("golden.json")
        return try JSONDecoder().decode(GoldenFolder.self, from: Data(contentsOf: index))
    }
}

extension [GoldenFolder.TensorFile] {
    /// The values of a tensor, row by row: little-endian float32, as every Apple system stores it.
    func values(_ name: String, in folder: URL) throws -> [Float] {
        guard let record = first(where: { $0.name == name }) else {
            throw CocoaError(.keyValueValidation, userInfo: [NSLocalizedDescriptionKey: name])
        }
        let data = try Data(contentsOf: folder.appendingPathComponent(record.file))
        let count = record.shape.reduce(1, *)
        guard data.count == count * MemoryLayout<Float>.size else {
            throw CocoaError(.fileReadCorruptFile, userInfo: [NSFilePathErrorKey: record.file])
        }
        return [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            initialized = data.copyBytes(to: buffer) / MemoryLayout<Float>.size
        }
    }
}
