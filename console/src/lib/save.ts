/** Files that the browser makes or fetches, handed to the user. */
import { send } from './http';

export function save(name: string, content: Blob): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A link cannot carry the bearer: the bytes are fetched first. */
export async function download(path: string, name: string): Promise<void> {
  save(name, await (await send(path)).blob());
}
