#if canImport(CoreML)
import CoreML
import CoreVideo

/// A float32 tensor from its values in row-major order.
func featureValue(_ values: [Float], shape: [Int]) -> MLFeatureValue {
    MLFeatureValue(multiArray: MLMultiArray(MLShapedArray<Float>(scalars: values, shape: shape)))
}

extension MLFeatureProvider {
    /// An output as Core ML returns it.
    func multiArray(_ name: String) throws -> MLMultiArray {
        guard let array = featureValue(for: name)?.multiArrayValue else {
            throw MobileSAMError("The model returned no '\(name)': export the bundle again.")
        }
        return array
    }

    /// The values of an output in row-major order.
    func scalars(_ name: String) throws -> [Float] {
        // Not its memory as it lies: Core ML may pad rows, and the shaped array heeds strides.
        MLShapedArray<Float>(converting: try multiArray(name)).scalars
    }
}

/// The frame as an image, for an encoder that takes one: 32BGRA, which Core ML reads as colour.
///
/// - Parameter planes: R, G and B with whole values 0 to 255, as `planes(of:in:normalized:)` makes.
func pixelBuffer(planes: [Float], side: Int) throws -> CVPixelBuffer {
    var created: CVPixelBuffer?
    // Backed by an IOSurface, which the Neural Engine and the GPU can read without a copy.
    let attributes = [kCVPixelBufferIOSurfacePropertiesKey as String: [String: Any]()]
    let status = CVPixelBufferCreate(
        kCFAllocatorDefault, side, side, kCVPixelFormatType_32BGRA, attributes as CFDictionary,
        &created)
    guard status == kCVReturnSuccess, let buffer = created else {
        throw MobileSAMError("No pixel buffer of \(side)x\(side) could be made (status \(status)).")
    }
    CVPixelBufferLockBaseAddress(buffer, [])
    defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
    guard let base = CVPixelBufferGetBaseAddress(buffer) else {
        throw MobileSAMError("The pixel buffer has no memory to write to.")
    }
    let bytes = base.assumingMemoryBound(to: UInt8.self)
    let bytesPerRow = CVPixelBufferGetBytesPerRow(buffer)
    for row in 0..<side {
        for column in 0..<side {
            let pixel = bytes + row * bytesPerRow + column * 4
            for channel in 0..<3 {
                pixel[2 - channel] = UInt8(planes[(channel * side + row) * side + column])
            }
            pixel[3] = 255
        }
    }
    return buffer
}
#endif
