#if canImport(CoreML)
import CoreGraphics
import CoreML
import CoreVideo

/// A photo as the decoder needs it: ask about it as often as you like.
public struct EncodedPhoto {
    public let frame: Frame
    let embedding: MLMultiArray
}

/// A bundle of the toolkit, run by Core ML.
///
/// (Not named after the module: a type of a module's own name cannot be told from the module.)
public final class Segmenter {
    public let manifest: Manifest
    private let encoder: MLModel
    private let decoder: MLModel

    /// Load the folder that `mobilesam export --target coreml` wrote.
    ///
    /// Its packages are compiled on the way, which takes seconds; see `init(manifest:encoder:decoder:)`
    /// for models that Xcode compiled, or that the app kept.
    public convenience init(bundle: URL, computeUnits: MLComputeUnits = .all) async throws {
        let manifest = try Manifest(bundle: bundle)
        try await self.init(
            manifest: manifest,
            encoder: bundle.appendingPathComponent(manifest.file("encoder").path),
            decoder: bundle.appendingPathComponent(manifest.file("decoder").path),
            computeUnits: computeUnits)
    }

    /// Load models, compiled (`.mlmodelc`) or not (`.mlpackage`).
    ///
    /// - Parameters:
    ///   - encoder: may be the same as `decoder`: one package with two functions.
    ///   - computeUnits: what Core ML may use.
    /// - Throws: `MobileSAMError` where the package needs a newer system, and Core ML's errors.
    public init(
        manifest: Manifest, encoder: URL, decoder: URL, computeUnits: MLComputeUnits = .all
    ) async throws {
        self.manifest = manifest
        let compiledEncoder = try await Self.compiled(encoder)
        let compiledDecoder =
            encoder == decoder ? compiledEncoder : try await Self.compiled(decoder)
        self.encoder = try Self.model(
            compiledEncoder, function: manifest.file("encoder").function, computeUnits)
        self.decoder = try Self.model(
            compiledDecoder, function: manifest.file("decoder").function, computeUnits)
    }

    /// Run the encoder, once a photo.
    ///
    /// - Parameter image: upright; see `RGBImage.init(_:)`.
    public func encode(_ image: CGImage) throws -> EncodedPhoto {
        let rgb = try RGBImage(image)
        let frame = try Frame(height: rgb.height, width: rgb.width, side: manifest.imageSize)
        return try encode(scaled: rgb.scaled(to: frame), in: frame)
    }

    /// Run the encoder on a camera's frame: an upright 32BGRA buffer.
    public func encode(_ buffer: CVPixelBuffer) throws -> EncodedPhoto {
        let rgb = try RGBImage(buffer)
        let frame = try Frame(height: rgb.height, width: rgb.width, side: manifest.imageSize)
        return try encode(scaled: rgb.scaled(to: frame), in: frame)
    }

    /// Run the encoder on a photo that the app scaled to the frame's valid size by itself.
    public func encode(scaled image: RGBImage, in frame: Frame) throws -> EncodedPhoto {
        let values = planes(of: image, in: frame, normalized: manifest.appNormalizes)
        return EncodedPhoto(frame: frame, embedding: try embedding(planes: values, frame: frame))
    }

    /// Run the decoder, once a prompt.
    ///
    /// - Throws: `MobileSAMError` for a prompt that is none or has too many points.
    public func answer(_ prompt: Prompt, on photo: EncodedPhoto) throws -> Answer {
        let frame = photo.frame
        let checked = try prompt.checked(height: frame.height, width: frame.width)
        let slots = try checked.packed(in: frame, acceptedSlots: manifest.acceptedSlots)
        let output = try decode(photo.embedding, slots, earlierLogits: checked.earlierLogits)
        return Answer(
            frame: frame, lowResSize: manifest.lowResSize,
            lowResLogits: output.lowResLogits, iouPredictions: output.iouPredictions,
            chosen: chosenMask(
                iouPredictions: output.iouPredictions, isAmbiguous: checked.isAmbiguous))
    }

    /// Photo and prompt to mask in one call: the photo's size, row by row.
    public func segment(_ image: CGImage, _ prompt: Prompt) throws -> [Bool] {
        try answer(prompt, on: encode(image)).mask()
    }

    /// The encoder on the frame's planes, as a tensor or as an image, whichever it takes.
    func embedding(planes: [Float], frame: Frame) throws -> MLMultiArray {
        let side = manifest.imageSize
        var inputs = [
            TensorName.image: manifest.takesImage
                ? MLFeatureValue(pixelBuffer: try pixelBuffer(planes: planes, side: side))
                : featureValue(planes, shape: [1, 3, side, side])
        ]
        if !manifest.appNormalizes {
            let validSize = [Float(frame.validHeight), Float(frame.validWidth)]
            inputs[TensorName.validSize] = featureValue(validSize, shape: [2])
        }
        let output = try encoder.prediction(from: MLDictionaryFeatureProvider(dictionary: inputs))
        return try output.multiArray(TensorName.imageEmbeddings)
    }

    /// The decoder on packed slots.
    func decode(
        _ embedding: MLMultiArray, _ slots: PackedPrompt, earlierLogits: [Float]?
    ) throws -> (lowResLogits: [Float], iouPredictions: [Float]) {
        let side = manifest.lowResSize
        let logits = earlierLogits ?? [Float](repeating: 0, count: side * side)
        guard logits.count == side * side else {
            throw MobileSAMError(
                "Earlier logits must be \(side) x \(side) values, not \(logits.count).")
        }
        let inputs = [
            TensorName.imageEmbeddings: MLFeatureValue(multiArray: embedding),
            TensorName.pointCoords: featureValue(slots.coords, shape: [1, slots.slots, 2]),
            TensorName.pointLabels: featureValue(slots.labels, shape: [1, slots.slots]),
            TensorName.maskInput: featureValue(logits, shape: [1, 1, side, side]),
            TensorName.hasMaskInput: featureValue([earlierLogits == nil ? 0 : 1], shape: [1]),
        ]
        let output = try decoder.prediction(from: MLDictionaryFeatureProvider(dictionary: inputs))
        return try (
            output.scalars(TensorName.lowResMasks), output.scalars(TensorName.iouPredictions)
        )
    }

    private static func compiled(_ url: URL) async throws -> URL {
        url.pathExtension == "mlmodelc" ? url : try await MLModel.compileModel(at: url)
    }

    private static func model(
        _ compiled: URL, function: String?, _ computeUnits: MLComputeUnits
    ) throws -> MLModel {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = computeUnits
        if let function, !function.isEmpty {
            guard #available(iOS 18, macOS 15, *) else {
                throw MobileSAMError(
                    "A package with several functions needs iOS 18 or macOS 15: export two packages.")
            }
            configuration.functionName = function
        }
        return try MLModel(contentsOf: compiled, configuration: configuration)
    }
}
#endif
