import Foundation

/// Major version of the contract this package follows, as in `contract_version` of a manifest.
let contractMajorVersion = 1

/// Names of the encoder's and the decoder's inputs and outputs.
enum TensorName {
    static let image = "image"
    static let validSize = "valid_size"
    static let imageEmbeddings = "image_embeddings"
    static let pointCoords = "point_coords"
    static let pointLabels = "point_labels"
    static let maskInput = "mask_input"
    static let hasMaskInput = "has_mask_input"
    static let lowResMasks = "low_res_masks"
    static let iouPredictions = "iou_predictions"
}

/// Values of `point_labels`.
enum SlotLabel {
    static let foreground: Float = 1
    static let background: Float = 0
    static let boxTopLeft: Float = 2
    static let boxBottomRight: Float = 3
    static let paddingPoint: Float = -1
    static let unusedSlot: Float = -2
}

/// Mean and standard deviation of R, G, B on the 0 to 255 scale, for input variant `normalized`.
enum PixelStatistics {
    static let mean: [Float] = [123.675, 116.28, 103.53]
    static let std: [Float] = [58.395, 57.12, 57.375]
}

/// The masks the decoder returns: 0 answers a clear prompt, 1 to 3 an ambiguous one.
let maskCount = 4

/// What was wrong and what would be right, in one sentence.
public struct MobileSAMError: LocalizedError, Equatable {
    public let message: String

    init(_ message: String) {
        self.message = message
    }

    public var errorDescription: String? { message }
}
