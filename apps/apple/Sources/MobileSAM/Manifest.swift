import Foundation

/// What this package reads of a bundle's `manifest.json`.
public struct Manifest: Decodable, Equatable {
    /// One artefact of the bundle.
    public struct File: Decodable, Equatable {
        /// Relative to the bundle, such as `encoder.mlpackage`.
        public let path: String
        /// `encoder` or `decoder`.
        public let component: String
        /// Of a package that holds both components; nil or empty where it has one function.
        public let function: String?
    }

    public struct Scheme: Decodable, Equatable {
        public let name: String
    }

    public let contractVersion: String
    public let target: String
    public let scheme: Scheme
    /// S, the side of the model's square frame.
    public let imageSize: Int
    /// Pixels of the frame to one cell of the embedding.
    public let stride: Int
    /// `pixels`: the graph normalises. `normalized`: the app does.
    public let inputVariant: String
    /// K of the decoder's default shape.
    public let slots: Int
    /// Every K the decoder accepts; nil where only `slots` is.
    public let slotCounts: [Int]?
    public let files: [File]
    public let options: [String: String]?

    private enum CodingKeys: String, CodingKey {
        case contractVersion = "contract_version"
        case target, scheme
        case imageSize = "image_size"
        case stride
        case inputVariant = "input_variant"
        case slots
        case slotCounts = "slot_counts"
        case files, options
    }

    /// Side of the low-res logits, S/4.
    public var lowResSize: Int { 4 * imageSize / stride }

    /// Every K the decoder accepts, smallest first.
    public var acceptedSlots: [Int] {
        let counts = slotCounts ?? []
        return counts.isEmpty ? [slots] : counts.sorted()
    }

    /// Whether the encoder takes the photo as an image (`CVPixelBuffer`) instead of a tensor.
    public var takesImage: Bool { options?["input"] == "image" }

    /// Whether the app subtracts the mean and divides by the standard deviation.
    public var appNormalizes: Bool { inputVariant == "normalized" }

    /// Read the text of a `manifest.json`.
    ///
    /// - Throws: `MobileSAMError` for a manifest of another contract, `DecodingError` for a
    ///   malformed one.
    public init(json: Data) throws {
        // The version first: a newer manifest may lack what the rest is decoded from.
        let version = try JSONDecoder().decode(Version.self, from: json).contractVersion
        guard version.split(separator: ".").first.map(String.init) == "\(contractMajorVersion)" else {
            throw MobileSAMError(
                "The bundle follows contract \(version), this package reads contract "
                    + "\(contractMajorVersion): export it again with a toolkit of that contract.")
        }
        self = try JSONDecoder().decode(Manifest.self, from: json)
    }

    /// Read the manifest of a bundle, the folder that `mobilesam export` wrote.
    public init(bundle: URL) throws {
        try self.init(json: Data(contentsOf: bundle.appendingPathComponent("manifest.json")))
    }

    /// The artefact of a component.
    ///
    /// - Throws: `MobileSAMError` if the bundle has none.
    public func file(_ component: String) throws -> File {
        guard let file = files.first(where: { $0.component == component }) else {
            throw MobileSAMError("The manifest names no \(component) file: export the bundle again.")
        }
        return file
    }

    private struct Version: Decodable {
        let contractVersion: String

        private enum CodingKeys: String, CodingKey {
            case contractVersion = "contract_version"
        }
    }
}
