// Runs something without the right to write, whoever runs the tests.
import { chmodSync } from 'node:fs'

/** Makes the folders and what is in them read-only while `work` runs, for root too. */
export async function asNobody(folders: string[], work: () => Promise<void>): Promise<void> {
  for (const folder of folders) chmodSync(folder, 0o555)
  const isRoot = process.getuid?.() === 0
  if (isRoot) process.seteuid?.(65534)
  try {
    await work()
  } finally {
    if (isRoot) process.seteuid?.(0)
    for (const folder of folders) chmodSync(folder, 0o755)
  }
}
