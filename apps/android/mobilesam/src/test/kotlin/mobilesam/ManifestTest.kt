package mobilesam

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class ManifestTest {
    private fun text(extra: String = "", version: String = "1.0", variant: String = "pixels") = """
        {"contract_version": "$version", "target": "tflite", "scheme": {"name": "fp16"},
        "image_size": 1024, "stride": 16, "input_variant": "$variant", "slots": 8, $extra
        "files": [{"path": "encoder.tflite", "component": "encoder"}]}
    """

    @Test
    fun fieldsAreRead() {
        val manifest = Manifest.of(text())
        assertEquals("tflite", manifest.target)
        assertEquals("fp16", manifest.scheme)
        assertEquals(256, manifest.lowResSize)
        assertEquals(listOf(8), manifest.acceptedSlots)
        assertFalse(manifest.appNormalizes)
        assertEquals("encoder.tflite", manifest.file("encoder"))
        assertTrue(Manifest.of(text(variant = "normalized")).appNormalizes)
    }

    @Test
    fun bytesAndFullMasksAreTold() {
        assertEquals(null, Manifest.of(text()).channelOrder)
        assertFalse(Manifest.of(text()).graphChooses)
        val bytes = "\"channel_order\": \"rgba\", \"masks\": \"full\", \"photo_size\": null,"
        val manifest = Manifest.of(text(bytes, variant = "uint8"))
        assertEquals("rgba", manifest.channelOrder)
        assertFalse(manifest.appNormalizes)
        assertTrue(manifest.graphChooses)
    }

    @Test
    fun whatAppsWouldMisreadIsRefused() {
        val wrong = listOf(
            text(variant = "yuv"),
            text("\"channel_order\": \"yuv\",", variant = "uint8"),
        )
        for (manifest in wrong) {
            val refusal = assertThrows(MobileSAMException::class.java) { Manifest.of(manifest) }
            assertTrue(refusal.message!!.contains("is 'yuv', this library knows"))
        }
    }

    @Test
    fun aBundleThatScalesPhotosItselfIsRefused() {
        val refusal = assertThrows(MobileSAMException::class.java) {
            Manifest.of(text("\"photo_size\": [1080, 1920],", variant = "uint8"))
        }
        assertTrue(refusal.message!!.contains("without --resize"))
    }

    @Test
    fun severalSlotCountsAreSorted() {
        val flexible = Manifest.of(text("\"slot_counts\": [16, 2, 8],"))
        assertEquals(listOf(2, 8, 16), flexible.acceptedSlots)
        assertEquals(listOf(8), Manifest.of(text("\"slot_counts\": [],")).acceptedSlots)
    }

    @Test
    fun anotherContractIsRefused() {
        val refusal = assertThrows(MobileSAMException::class.java) {
            Manifest.of(text(version = "2.0"))
        }
        assertTrue(refusal.message!!.contains("follows contract 2.0"))
        assertEquals("1.7", Manifest.of(text(version = "1.7")).contractVersion)
    }

    @Test
    fun whatIsNoManifestIsRefused() {
        for (wrong in listOf("", "[]", "{}", "{\"contract_version\": \"1.0\"}")) {
            assertThrows(MobileSAMException::class.java) { Manifest.of(wrong) }
        }
    }

    @Test
    fun aMissingComponentIsRefused() {
        assertThrows(MobileSAMException::class.java) { Manifest.of(text()).file("decoder") }
    }
}
