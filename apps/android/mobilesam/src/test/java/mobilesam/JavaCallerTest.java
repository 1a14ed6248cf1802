package mobilesam;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.util.List;
import java.util.Map;
import org.junit.Test;

/** The library as an app in Java calls it, on models that answer the same to everything. */
public class JavaCallerTest {
    private static final String MANIFEST =
            "{\"contract_version\": \"1.1\", \"target\": \"tflite\", \"scheme\": {\"name\": \"fp32\"},"
                    + "\"image_size\": 32, \"stride\": 16, \"input_variant\": \"pixels\","
                    + "\"slots\": 8, \"files\": []}";

    private Map<String, Tensor> asked;

    private Segmenter segmenter() throws MobileSAMException {
        float[] logits = new float[4 * 8 * 8];
        for (int index = 0; index < logits.length; index++) {
            logits[index] = index / 64 == 2 ? 1f : -1f; // mask 2 is everything, the others nothing
        }
        Component encoder =
                inputs -> Map.of("image_embeddings", floats(new float[5 * 2 * 2], 1, 5, 2, 2));
        Component decoder =
                inputs -> {
                    asked = inputs;
                    return Map.of(
                            "low_res_masks", floats(logits, 1, 4, 8, 8),
                            "iou_predictions",
                            floats(new float[] {0.9f, 0.1f, 0.8f, 0.3f}, 1, 4));
                };
        return new Segmenter(Manifest.of(MANIFEST), encoder, decoder);
    }

    private static Tensor floats(float[] values, int... shape) {
        return new FloatTensor(shape, values);
    }

    private float[] asked(String name) {
        return ((FloatTensor) asked.get(name)).getValues();
    }

    private EncodedPhoto photo(Segmenter segmenter) throws MobileSAMException {
        return segmenter.encode(new RgbImage(20, 30, new byte[20 * 30 * 3]));
    }

    @Test
    public void aClickGivesTheBestOfThreeMasks() throws MobileSAMException {
        Segmenter segmenter = segmenter();
        Answer answer =
                segmenter.answer(photo(segmenter), new Prompt(List.of(new Point(3f, 4f))));
        assertEquals(2, answer.getChosen());
        boolean[] mask = answer.mask();
        assertEquals(20 * 30, mask.length);
        for (boolean pixel : mask) {
            assertTrue(pixel);
        }
        assertArrayEquals(new int[] {1, 5, 2, 2}, asked.get("image_embeddings").getShape());
        assertArrayEquals(new int[] {1, 8, 2}, asked.get("point_coords").getShape());
        float[] labels = {1, -1, -2, -2, -2, -2, -2, -2};
        assertArrayEquals(labels, asked("point_labels"), 0f);
    }

    @Test
    public void aBoxWithABackgroundPointAndEarlierLogits() throws MobileSAMException {
        Segmenter segmenter = segmenter();
        EncodedPhoto photo = photo(segmenter);
        Answer first = segmenter.answer(photo, new Prompt(List.of(new Point(3f, 4f))));
        Prompt refined =
                new Prompt(
                        List.of(new Point(9f, 9f, false)),
                        new Box(1f, 2f, 20f, 15f),
                        first.lowResLogitsOf());
        Answer answer = segmenter.answer(photo, refined);
        assertEquals(0, answer.getChosen());
        float[] labels = {0, 2, 3, -2, -2, -2, -2, -2};
        assertArrayEquals(labels, asked("point_labels"), 0f);
        assertEquals(1f, asked("has_mask_input")[0], 0f);
    }

    @Test
    public void wrongPromptsAreRefusedWithASentence() throws MobileSAMException {
        Segmenter segmenter = segmenter();
        EncodedPhoto photo = photo(segmenter);
        MobileSAMException outside =
                assertThrows(
                        MobileSAMException.class,
                        () -> segmenter.answer(photo, new Prompt(List.of(new Point(31f, 4f)))));
        assertTrue(outside.getMessage().contains("outside the image"));
        assertThrows(MobileSAMException.class, () -> segmenter.answer(photo, new Prompt()));
        Prompt tooSmall = new Prompt(List.of(), null, new float[9]);
        assertThrows(MobileSAMException.class, () -> segmenter.answer(photo, tooSmall));
    }
}
