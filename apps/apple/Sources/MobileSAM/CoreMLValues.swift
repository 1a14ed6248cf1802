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
    let bytesPerRow = CVPixelBufferGetBytesPerRow(buffer)
    let bytes = UnsafeMutableRawBufferPointer(start: base, count: bytesPerRow * side)
    writeBGRA(planes: planes, side: side, to: bytes, bytesPerRow: bytesPerRow)
    return buffer
}

extension RGBImage {
    /// Read an upright 32BGRA buffer, such as a camera's frame, without a copy in between.
    ///
    /// - Throws: `MobileSAMError` for another pixel format.
    public init(_ buffer: CVPixelBuffer) throws {
        guard CVPixelBufferGetPixelFormatType(buffer) == kCVPixelFormatType_32BGRA else {
            throw MobileSAMError(
                "The pixel buffer is not 32BGRA: ask AVCaptureVideoDataOutput for that format.")
        }
        CVPixelBufferLockBaseAddress(buffer, .readOnly)
        defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
        guard let base = CVPixelBufferGetBaseAddress(buffer) else {
            throw MobileSAMError("The pixel buffer has no memory to read.")
        }
        let height = CVPixelBufferGetHeight(buffer), width = CVPixelBufferGetWidth(buffer)
        let bytesPerRow = CVPixelBufferGetBytesPerRow(buffer)
        self.init(
            bgra: UnsafeRawBufferPointer(start: base, count: bytesPerRow * height),
            height: height, width: width, bytesPerRow: bytesPerRow)
    }
}
#endif
