/// What the decoder returned for a prompt.
public struct Answer: Equatable {
    public let frame: Frame
    /// Side of the low-res logits, S/4.
    public let lowResSize: Int
    /// Logits of all four masks, 4 x S/4 x S/4.
    public let lowResLogits: [Float]
    /// How good the model thinks each of the four is.
    public let iouPredictions: [Float]
    /// The mask to show.
    public let chosen: Int

    /// Low-res logits of one mask, S/4 rows of S/4: what `Prompt.earlierLogits` takes.
    public func lowResLogits(of index: Int) -> [Float] {
        let count = lowResSize * lowResSize
        return Array(lowResLogits[(index * count)..<((index + 1) * count)])
    }

    /// Logits of one mask at the photo's size, row by row.
    public func logits(of index: Int) -> [Float] {
        upscaled(lowResLogits(of: index), side: lowResSize, in: frame)
    }

    /// The mask to show, or another of the four: at the photo's size, row by row.
    public func mask(_ index: Int? = nil) -> [Bool] {
        logits(of: index ?? chosen).map { $0 > 0 }
    }
}

/// Index of the mask to show: `choose_mask` of `mobilesam/inference/predictor.py`.
///
/// The best predicted IoU among masks 1 to 3 (of equal ones the first) for an ambiguous prompt,
/// else mask 0.
func chosenMask(iouPredictions: [Float], isAmbiguous: Bool) -> Int {
    guard isAmbiguous else { return 0 }
    var best = 1
    for index in 2..<maskCount where iouPredictions[index] > iouPredictions[best] { best = index }
    return best
}

/// Low-res logits to the photo's size: `upscale_logits` of `mobilesam/inference/transforms.py`.
///
/// Bilinear to S x S, cropped to the valid size, bilinear to the photo.
func upscaled(_ lowRes: [Float], side: Int, in frame: Frame) -> [Float] {
    let down = bilinearTaps(from: side, to: frame.side)
    let valid = interpolated(
        lowRes, columns: side, down: Array(down.prefix(frame.validHeight)),
        across: Array(down.prefix(frame.validWidth)))
    return interpolated(
        valid, columns: frame.validWidth,
        down: bilinearTaps(from: frame.validHeight, to: frame.height),
        across: bilinearTaps(from: frame.validWidth, to: frame.width))
}

/// The two old positions that a new one lies between, and the share of the second.
struct BilinearTap: Equatable {
    let low: Int
    let high: Int
    let share: Float
}

/// Bilinear interpolation of one axis as PyTorch's `interpolate(align_corners=False)` computes it.
///
///     position = max(0, (index + 0.5) * old / new - 0.5)
///     low = floor(position), at most old - 1
///     high = low + 1, at most old - 1
///     share = position - low
///
/// In float32: `old / new` is rounded, then product and difference are rounded once together, which
/// is what PyTorch's compiled code does where the processor has a fused multiply-add.
func bilinearTaps(from old: Int, to new: Int) -> [BilinearTap] {
    let scale = Float(old) / Float(new)
    return (0..<new).map { index in
        let position = max(0, (-0.5 as Float).addingProduct(Float(index) + 0.5, scale))
        let low = min(Int(position), old - 1)
        return BilinearTap(low: low, high: min(low + 1, old - 1), share: position - Float(low))
    }
}

private func interpolated(
    _ source: [Float], columns: Int, down: [BilinearTap], across: [BilinearTap]
) -> [Float] {
    var result: [Float] = []
    result.reserveCapacity(down.count * across.count)
    source.withUnsafeBufferPointer { source in
        for y in down {
            let low = y.low * columns, high = y.high * columns
            for x in across {
                let top = source[low + x.low] * (1 - x.share) + source[low + x.high] * x.share
                let bottom = source[high + x.low] * (1 - x.share) + source[high + x.high] * x.share
                result.append(top * (1 - y.share) + bottom * y.share)
            }
        }
    }
    return result
}
