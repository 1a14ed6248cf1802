// The code of docs/ios.md and README.md. Not built here: there was no Mac.

import CoreGraphics
import Foundation
import MobileSAM

func usage(image: CGImage) async throws -> [[Bool]] {
    let bundle = Bundle.main.url(forResource: "coreml-fp16", withExtension: nil)!
    let segmenter = try await Segmenter(bundle: bundle, computeUnits: .all)

    let photo = try segmenter.encode(image)  // a CGImage, upright; once a photo
    let click = Prompt(points: [Prompt.Point(x: 320, y: 240)])
    let answer = try segmenter.answer(click, on: photo)  // once a prompt
    let mask: [Bool] = answer.mask()  // row by row, the photo's size

    // Refine it with a point that does not belong to the object.
    var refined = click
    refined.points.append(Prompt.Point(x: 90, y: 60, isForeground: false))
    refined.earlierLogits = answer.lowResLogits(of: answer.chosen)
    let better = try segmenter.answer(refined, on: photo).mask()
    return [mask, better]
}

func usageOfCompiledModels(image: CGImage, manifestURL: URL) async throws -> [Bool] {
    let segmenter = try await Segmenter(
        manifest: Manifest(json: Data(contentsOf: manifestURL)),
        encoder: Bundle.main.url(forResource: "encoder", withExtension: "mlmodelc")!,
        decoder: Bundle.main.url(forResource: "decoder", withExtension: "mlmodelc")!,
        computeUnits: .cpuAndNeuralEngine)
    let photo = try segmenter.encode(image)
    let answer = try segmenter.answer(Prompt(points: [Prompt.Point(x: 320, y: 240)]), on: photo)
    let mask = answer.mask()  // [Bool], row by row, the photo's size
    return mask
}
