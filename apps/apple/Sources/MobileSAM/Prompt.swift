/// What a user points at, in pixels of the upright photo; (0, 0) is its top-left corner.
public struct Prompt: Equatable {
    public struct Point: Equatable {
        public var x: Float
        public var y: Float
        public var isForeground: Bool

        public init(x: Float, y: Float, isForeground: Bool = true) {
            self.x = x
            self.y = y
            self.isForeground = isForeground
        }
    }

    public struct Box: Equatable {
        public var x1: Float
        public var y1: Float
        public var x2: Float
        public var y2: Float

        public init(x1: Float, y1: Float, x2: Float, y2: Float) {
            self.x1 = x1
            self.y1 = y1
            self.x2 = x2
            self.y2 = y2
        }
    }

    public var points: [Point]
    public var box: Box?
    /// Low-res logits of an earlier answer, S/4 rows of S/4, to be refined.
    public var earlierLogits: [Float]?

    public init(points: [Point] = [], box: Box? = nil, earlierLogits: [Float]? = nil) {
        self.points = points
        self.box = box
        self.earlierLogits = earlierLogits
    }

    /// A single point and nothing else: three masks are then offered to choose from.
    public var isAmbiguous: Bool { points.count == 1 && box == nil && earlierLogits == nil }

    /// The prompt as `make_prompt` of `mobilesam/inference/prompts.py` accepts it: the box clipped to the photo.
    ///
    /// - Throws: `MobileSAMError` for an empty prompt, a point outside, or a box that cannot be one.
    func checked(height: Int, width: Int) throws -> Prompt {
        guard !points.isEmpty || box != nil || earlierLogits != nil else {
            throw MobileSAMError("The prompt is empty: give a point, a box or earlier logits.")
        }
        let right = Float(width), bottom = Float(height)
        // Written so that a NaN is refused.
        for point in points where !((0...right).contains(point.x) && (0...bottom).contains(point.y)) {
            throw MobileSAMError(
                "Point (\(point.x), \(point.y)) is outside the image: x must be in 0..\(width), "
                    + "y in 0..\(height).")
        }
        var prompt = self
        if let box {
            guard [box.x1, box.y1, box.x2, box.y2].allSatisfy(\.isFinite), box.x1 < box.x2,
                box.y1 < box.y2
            else {
                throw MobileSAMError("The box is inverted or empty: x1 < x2 and y1 < y2 are needed.")
            }
            let clipped = Box(
                x1: min(max(box.x1, 0), right), y1: min(max(box.y1, 0), bottom),
                x2: min(max(box.x2, 0), right), y2: min(max(box.y2, 0), bottom))
            guard clipped.x1 < clipped.x2, clipped.y1 < clipped.y2 else {
                throw MobileSAMError("The box lies outside the image, which is \(width) x \(height).")
            }
            prompt.box = clipped
        }
        return prompt
    }

    /// The decoder's slots: `pack_prompt` of `mobilesam/bundle/contract.py`.
    ///
    /// The points, then the box's two corners or (with points and no box) SAM's padding point, then
    /// unused slots up to the smallest accepted number that holds them.
    ///
    /// - Throws: `MobileSAMError` if no accepted number does.
    func packed(in frame: Frame, acceptedSlots: [Int]) throws -> PackedPrompt {
        var coords: [Float] = [], labels: [Float] = []
        func add(_ x: Float, _ y: Float, _ label: Float) {
            let placed = frame.point(x: x, y: y)
            coords += [placed.x, placed.y]
            labels.append(label)
        }
        for point in points {
            add(point.x, point.y, point.isForeground ? SlotLabel.foreground : SlotLabel.background)
        }
        if let box {
            add(box.x1, box.y1, SlotLabel.boxTopLeft)
            add(box.x2, box.y2, SlotLabel.boxBottomRight)
        } else if !points.isEmpty {
            add(0, 0, SlotLabel.paddingPoint)
        }
        guard let slots = acceptedSlots.filter({ $0 >= labels.count }).min() else {
            throw MobileSAMError(
                "The prompt needs \(labels.count) slots but this decoder has "
                    + "\(acceptedSlots.max() ?? 0): use fewer points or export with more slots.")
        }
        while labels.count < slots { add(0, 0, SlotLabel.unusedSlot) }
        return PackedPrompt(coords: coords, labels: labels)
    }
}

/// `point_coords` [1, K, 2] and `point_labels` [1, K], flat.
struct PackedPrompt: Equatable {
    let coords: [Float]
    let labels: [Float]

    var slots: Int { labels.count }
}
