#if canImport(CoreML)
import CoreML
import XCTest

@testable import MobileSAM

/// A bundle on this device, held against PyTorch's answers and the limits of its scheme.
///
/// The bundle is the folder that MOBILESAM_BUNDLE names, or `Fixtures/bundle`; the golden vectors
/// are in MOBILESAM_GOLDEN or `Fixtures/golden`; MOBILESAM_COMPUTE_UNITS is all, cpu_only,
/// cpu_and_gpu or cpu_and_ne. Without a bundle the tests are skipped.
final class GoldenVectorTests: XCTestCase {
    private static let computeUnits: [String: MLComputeUnits] = [
        "all": .all, "cpu_only": .cpuOnly, "cpu_and_gpu": .cpuAndGPU,
        "cpu_and_ne": .cpuAndNeuralEngine,
    ]

    func testBundleAnswersAsPyTorchDoes() async throws {
        let bundle = try folder("MOBILESAM_BUNDLE", "bundle")
        let vectors = try folder("MOBILESAM_GOLDEN", "golden")
        let golden = try GoldenFolder.read(vectors)
        let segmenter = try await Segmenter(bundle: bundle, computeUnits: chosenUnits())
        let manifest = segmenter.manifest
        XCTAssertEqual("\(manifest.target)-\(manifest.scheme.name)", golden.bundle)
        XCTAssertEqual(manifest.imageSize, golden.imageSize)

        let frame = try Frame(
            height: golden.originalSize[0], width: golden.originalSize[1], side: golden.imageSize)
        let planes = try golden.encoder.inputs.values(TensorName.image, in: vectors)
        let reference = try golden.encoder.outputs.values(TensorName.imageEmbeddings, in: vectors)
        let own = try segmenter.embedding(planes: planes, frame: frame)
        let values = MLShapedArray<Float>(converting: own).scalars
        XCTAssertEqual(values.count, reference.count)
        XCTAssertLessThanOrEqual(
            Metrics.relativeL2(reference, values), golden.limits.encoder.relativeL2)
        XCTAssertGreaterThanOrEqual(
            Metrics.cosine(reference, values), golden.limits.encoder.cosine)
        XCTAssertGreaterThanOrEqual(Metrics.psnr(reference, values), golden.limits.encoder.psnrDb)

        let cells = golden.imageSize / manifest.stride
        let shape = [1, reference.count / (cells * cells), cells, cells]
        let given = MLMultiArray(MLShapedArray<Float>(scalars: reference, shape: shape))
        for record in golden.cases {
            try compare(record, of: segmenter, on: given, frame, vectors, golden.limits.decoder)
            try compare(record, of: segmenter, on: own, frame, vectors, golden.limits.endToEnd)
        }
    }

    private func compare(
        _ record: GoldenFolder.Case, of segmenter: Segmenter, on embedding: MLMultiArray,
        _ frame: Frame, _ vectors: URL, _ limits: GoldenFolder.MaskLimits
    ) throws {
        let name = record.name
        let slots = PackedPrompt(
            coords: try record.inputs.values(TensorName.pointCoords, in: vectors),
            labels: try record.inputs.values(TensorName.pointLabels, in: vectors))
        let hasLogits = try record.inputs.values(TensorName.hasMaskInput, in: vectors) == [1]
        let earlier = try record.inputs.values(TensorName.maskInput, in: vectors)
        let output = try segmenter.decode(
            embedding, slots, earlierLogits: hasLogits ? earlier : nil)

        func answer(_ logits: [Float], _ iou: [Float], _ chosen: Int) -> Answer {
            Answer(
                frame: frame, lowResSize: segmenter.manifest.lowResSize, lowResLogits: logits,
                iouPredictions: iou, chosen: chosen)
        }
        let iou = try record.outputs.values(TensorName.iouPredictions, in: vectors)
        let reference = answer(
            try record.outputs.values(TensorName.lowResMasks, in: vectors), iou, record.chosen)
        let found = answer(
            output.lowResLogits, output.iouPredictions,
            chosenMask(iouPredictions: output.iouPredictions, isAmbiguous: record.ambiguous))
        XCTAssertEqual(found.lowResLogits.count, reference.lowResLogits.count, name)

        for index in 0..<maskCount {
            let place = "\(name), mask \(index)"
            XCTAssertLessThanOrEqual(
                Metrics.relativeL2(
                    reference.lowResLogits(of: index), found.lowResLogits(of: index)),
                limits.logitsRelativeL2, place)
            XCTAssertLessThanOrEqual(
                Double(abs(found.iouPredictions[index] - iou[index])), limits.iouPrediction, place)
            if !record.degenerate[index] {
                XCTAssertGreaterThanOrEqual(
                    Metrics.iou(reference.mask(index), found.mask(index)), limits.maskIouMin, place)
            }
        }
        // Both predictions may be off by the limit, so that a tie of twice that may fall either way.
        if found.chosen != reference.chosen {
            let margin = Double(iou[reference.chosen] - iou[found.chosen])
            XCTAssertLessThanOrEqual(margin, 2 * limits.iouPrediction, "\(name): another mask")
        }
    }

    private func chosenUnits() throws -> MLComputeUnits {
        let name = ProcessInfo.processInfo.environment["MOBILESAM_COMPUTE_UNITS"] ?? "all"
        return try XCTUnwrap(Self.computeUnits[name], "unknown compute units '\(name)'")
    }

    private func folder(_ variable: String, _ name: String) throws -> URL {
        if let path = ProcessInfo.processInfo.environment[variable] {
            return URL(fileURLWithPath: path, isDirectory: true)
        }
        let copied = try fixture(name)
        guard FileManager.default.fileExists(atPath: copied.path) else {
            throw XCTSkip("Set \(variable), or copy the folder to Fixtures/\(name).")
        }
        return copied
    }
}
#endif
