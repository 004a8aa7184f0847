/** What can go wrong. Messages are those of the command line: where, what, and what to do. */

export class DeskullError extends Error {
  override name = "DeskullError";
}

/** A file that cannot be read as one head. */
export class ImageFileError extends DeskullError {
  override name = "ImageFileError";
}

/** Voxels without a size or a place. */
export class GeometryError extends DeskullError {
  override name = "GeometryError";
}

/** Weights that are missing or damaged, or an engine that cannot run them. */
export class WeightsError extends DeskullError {
  override name = "WeightsError";
}

/** A scan in which no brain was found. */
export class EmptyMaskError extends DeskullError {
  override name = "EmptyMaskError";
}

/** A file that holds several images: the user must say which one. */
export class ChoiceError extends DeskullError {
  override name = "ChoiceError";

  constructor(
    message: string,
    readonly kind: "frame" | "series",
    readonly options: string[],
  ) {
    super(message);
  }
}
