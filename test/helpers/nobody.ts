// Runs something without the right to write, whoever runs the tests.
import { chmodSync, chownSync, globSync, statSync } from 'node:fs'
import { join } from 'node:path'

const nobody = 65_534

/** Makes the folders and what is in them read-only while `work` runs; root works as another owner. */
export async function asNobody(folders: string[], work: () => Promise<void>): Promise<void> {
  const isRoot = process.getuid?.() === 0
  const held = folders
    .flatMap((cwd) => [cwd, ...globSync('**/*', { cwd }).map((name) => join(cwd, name))])
    .map((path) => ({ path, mode: statSync(path).mode }))
  for (const { path, mode } of held) {
    chmodSync(path, mode & 0o555)
    if (isRoot) chownSync(path, nobody, nobody)
  }
  if (isRoot) process.seteuid?.(nobody)
  try {
    await work()
  } finally {
    if (isRoot) process.seteuid?.(0)
    for (const { path, mode } of held) {
      if (isRoot) chownSync(path, 0, 0)
      chmodSync(path, mode)
    }
  }
}
