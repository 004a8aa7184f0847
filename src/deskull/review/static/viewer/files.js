// Files that the page gives: pictures and masks.

/** Let the browser save a file. @param {Blob} blob @param {string} name */
export function offer(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // some browsers read it late
}

/** Save all canvases that are shown, side by side as on the page, with a line of text below. */
export function takeSnapshot(picture, name, text) {
  const box = picture.getBoundingClientRect(), ratio = devicePixelRatio || 1, sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [box.width * ratio, box.height * ratio];
  const pen = sheet.getContext("2d");
  pen.fillRect(0, 0, sheet.width, sheet.height);
  for (const canvas of picture.querySelectorAll("canvas")) {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    if (width) pen.drawImage(canvas, (left - box.left) * ratio, (top - box.top) * ratio, width * ratio, height * ratio);
  }
  pen.font = `${12 * ratio}px sans-serif`;
  pen.fillStyle = "#e8eaed";
  pen.fillText(text, 8 * ratio, sheet.height - 8 * ratio);
  sheet.toBlob((blob) => offer(blob, `${name.replace(/[^\w.-]+/g, "_")}_view.png`));
}
