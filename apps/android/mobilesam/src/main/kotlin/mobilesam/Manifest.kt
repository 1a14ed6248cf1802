package mobilesam

import org.json.JSONException
import org.json.JSONObject

/**
 * What this library reads of a bundle's `manifest.json`.
 *
 * @property imageSize S, the side of the model's square frame.
 * @property stride pixels of the frame to one cell of the embedding.
 * @property appNormalizes whether the app subtracts the mean and divides by the standard deviation
 *     (input variant `normalized`); else the graph does.
 * @property channelOrder of input variant `uint8`, whose encoder takes bytes: `rgb`, `bgr` or
 *     `rgba`, the values of a pixel side by side; null where it takes planes of floats.
 * @property graphChooses whether the decoder gives one mask, chosen and thresholded, instead of the
 *     logits of four (exported with `--masks full`).
 * @property acceptedSlots every K the decoder accepts, smallest first.
 * @property files path of each component's file in the bundle, by `encoder` and `decoder`.
 */
class Manifest private constructor(
    val contractVersion: String,
    val target: String,
    val scheme: String,
    val imageSize: Int,
    val stride: Int,
    val appNormalizes: Boolean,
    val channelOrder: String?,
    val graphChooses: Boolean,
    val acceptedSlots: List<Int>,
    private val files: Map<String, String>,
) {
    /** Side of the low-res logits, S/4. */
    val lowResSize: Int
        get() = 4 * imageSize / stride

    /**
     * Path of a component's file, relative to the bundle.
     *
     * @throws MobileSAMException if the bundle has none.
     */
    @Throws(MobileSAMException::class)
    fun file(component: String): String = files[component]
        ?: throw MobileSAMException("The manifest names no $component file: export the bundle again.")

    companion object {
        /**
         * Read the text of a `manifest.json`.
         *
         * @throws MobileSAMException for a manifest of another contract, or one that is malformed.
         */
        @JvmStatic
        @Throws(MobileSAMException::class)
        fun of(json: String): Manifest = try {
            read(JSONObject(json))
        } catch (error: JSONException) {
            throw MobileSAMException("This is no manifest of a bundle: ${error.message}")
        }

        private fun read(json: JSONObject): Manifest {
            val version = json.getString("contract_version")
            if (version.substringBefore('.') != CONTRACT_MAJOR_VERSION.toString()) {
                throw MobileSAMException(
                    "The bundle follows contract $version, this library reads contract " +
                        "$CONTRACT_MAJOR_VERSION: export it again with a toolkit of that contract.",
                )
            }
            if (!json.isNull("photo_size")) {
                throw MobileSAMException(
                    "The bundle scales photos itself and this library does too: export it again " +
                        "without --resize.",
                )
            }
            val files = json.getJSONArray("files")
            val variant = json.getString("input_variant")
            val order = json.optString("channel_order", "rgb")
            known("input_variant", variant, INPUT_VARIANTS)
            known("channel_order", order, CHANNEL_ORDERS)
            val counts = json.optJSONArray("slot_counts")
            val several = List(counts?.length() ?: 0) { counts!!.getInt(it) }
            return Manifest(
                contractVersion = version,
                target = json.getString("target"),
                scheme = json.getJSONObject("scheme").getString("name"),
                imageSize = json.getInt("image_size"),
                stride = json.getInt("stride"),
                appNormalizes = variant == INPUT_NORMALIZED,
                channelOrder = if (variant == INPUT_BYTES) order else null,
                graphChooses = json.optString("masks") == "full",
                acceptedSlots = several.ifEmpty { listOf(json.getInt("slots")) }.sorted(),
                files = List(files.length()) { files.getJSONObject(it) }
                    .associate { it.getString("component") to it.getString("path") },
            )
        }

        private fun known(field: String, value: String, all: List<String>) {
            if (value !in all) {
                throw MobileSAMException(
                    "The bundle's $field is '$value', this library knows ${all.joinToString()}: " +
                        "take a newer one.",
                )
            }
        }
    }
}
