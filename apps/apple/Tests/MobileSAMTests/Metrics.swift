import Foundation

/// Measures of `parity/metrics.py`, in double precision.
enum Metrics {
    /// ||export - reference|| / ||reference||.
    static func relativeL2(_ reference: [Float], _ export: [Float]) -> Double {
        norm(zip(reference, export).map { Double($1) - Double($0) }) / norm(reference.map(Double.init))
    }

    static func cosine(_ reference: [Float], _ export: [Float]) -> Double {
        let product = zip(reference, export).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        return product / (norm(reference.map(Double.init)) * norm(export.map(Double.init)))
    }

    /// Decibels; the peak is the reference's range.
    static func psnr(_ reference: [Float], _ export: [Float]) -> Double {
        let error = norm(zip(reference, export).map { Double($1) - Double($0) })
        let rmse = error / Double(reference.count).squareRoot()
        guard rmse > 0, let least = reference.min(), let most = reference.max() else {
            return .infinity
        }
        return 20 * log10((Double(most) - Double(least)) / rmse)
    }

    /// Intersection over union; 1 where both are empty.
    static func iou(_ one: [Bool], _ other: [Bool]) -> Double {
        let both = zip(one, other).filter { $0 && $1 }.count
        let either = zip(one, other).filter { $0 || $1 }.count
        return either == 0 ? 1 : Double(both) / Double(either)
    }

    private static func norm(_ values: [Double]) -> Double {
        values.reduce(0) { $0 + $1 * $1 }.squareRoot()
    }
}
