/** What is dropped on the page: files, and all files of folders. */

import { ImageFileError } from "../errors";

/** Files of a drop, each with the path below what was dropped. */
export async function readDrop(items: Iterable<DataTransferItem>): Promise<File[]> {
  const entries = [...items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  let files: File[];
  try {
    files = (await Promise.all(entries.map(readEntry))).flat();
  } catch (error) {
    throw new ImageFileError(`What was dropped cannot be read (${(error as Error).message}). Choose the files with the button.`);
  }
  if (!files.length) throw new ImageFileError("There is no file in what was dropped. Choose the files with the button.");
  return files;
}

async function readEntry(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [Object.assign(file, { path: entry.fullPath.slice(1) })];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const files: File[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return files; // a reader gives a hundred at a time
    files.push(...(await Promise.all(some.map(readEntry))).flat());
  }
}
