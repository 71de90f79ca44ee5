/* A small picture of a picture, drawn once: no address of it is kept. */

const PREVIEW = 32 * 1048576;

/** Draw a file onto a canvas; what a browser cannot show stays blank, and may still be a picture to the guard. */
export async function thumb(file, canvas) {
  if (file.size > PREVIEW) return;
  try {
    const bitmap = await createImageBitmap(file), context = canvas.getContext("2d");
    const scale = Math.min(canvas.width / bitmap.width, canvas.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    Object.assign(context, { imageSmoothingEnabled: scale < 1, imageSmoothingQuality: "high" });
    context.drawImage(bitmap, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
    bitmap.close();
  } catch { /* not one that a browser can show */ }
}
