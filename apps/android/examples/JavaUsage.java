// The code of docs/android.md, compiled by its tests.

package mobilesam.examples;

import android.content.res.AssetManager;
import android.graphics.Bitmap;
import java.util.List;
import mobilesam.Answer;
import mobilesam.EncodedPhoto;
import mobilesam.MobileSAMException;
import mobilesam.Point;
import mobilesam.Prompt;
import mobilesam.Segmenter;
import mobilesam.android.AndroidBundles;

final class JavaUsage {
    static boolean[] usage(AssetManager assets, Bitmap bitmap) throws MobileSAMException {
        Segmenter segmenter = AndroidBundles.openBundle(assets, "tflite-fp16");
        EncodedPhoto photo = segmenter.encode(AndroidBundles.rgbImage(bitmap));
        Answer answer = segmenter.answer(photo, new Prompt(List.of(new Point(320f, 240f))));
        boolean[] mask = answer.mask();
        return mask;
    }
}
