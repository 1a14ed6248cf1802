/// How one photo lies in the model's square frame: `Frame` of `mobilesam/inference/transforms.py`.
public struct Frame: Equatable {
    /// Of the photo, upright, in pixels.
    public let height: Int
    public let width: Int
    /// S.
    public let side: Int
    /// Of the part of the frame that is photo; the larger is S.
    public let validHeight: Int
    public let validWidth: Int

    /// - Throws: `MobileSAMError` for a photo so elongated that its short side would vanish.
    public init(height: Int, width: Int, side: Int) throws {
        self.height = height
        self.width = width
        self.side = side
        // The factor first, then the product: the other order rounds some sizes differently.
        let factor = Double(side) / Double(max(height, width, 1))
        validHeight = Int(Double(height) * factor + 0.5)
        validWidth = Int(Double(width) * factor + 0.5)
        guard min(height, width, validHeight, validWidth) >= 1 else {
            throw MobileSAMError(
                "An image of \(width)x\(height) pixels is too elongated: scaled to a longest side "
                    + "of \(side), its short side must keep at least one pixel.")
        }
    }

    /// A point of the photo in the frame: computed in double precision, rounded once.
    func point(x: Float, y: Float) -> (x: Float, y: Float) {
        let across = Double(validWidth) / Double(width), down = Double(validHeight) / Double(height)
        return (Float(Double(x) * across), Float(Double(y) * down))
    }
}
