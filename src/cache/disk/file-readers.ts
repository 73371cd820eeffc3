// Gives readers of open files, which hash what is due: on the way, or behind those who read parts.
import { hexOf, type Digest } from '../../oci/digest.ts'
import type { Large } from '../cache.ts'
import { withCheck } from './checked-reader.ts'
import { hashOf, readerOf, type OpenFile } from './open-file.ts'
import type { Removal } from './removal.ts'
import type { VerifiedFiles } from './verified-files.ts'

export interface FileReaders {
  /** Must be closed. */
  read: (file: OpenFile) => Large
  /** All of a file was read: whether it hashes to its name. */
  verified: (file: CheckedFile, isRight: boolean) => Promise<void>
  /** The file system cannot read it, and says so. */
  unreadable: (digest: Digest, error: unknown) => Promise<void>
  close: () => Promise<void>
}

/** A stored file, as the file system had it when it was read. */
export type CheckedFile = Pick<OpenFile, 'digest' | 'inode' | 'mtime'>

/** @param giveUp nobody is to get this file any more */
export function createFileReaders(
  verified: VerifiedFiles,
  removal: Removal,
  giveUp: (digest: Digest) => void,
): FileReaders {
  /** Checks that no client waits for, one after the other. */
  let checks = Promise.resolve()
  let isClosed = false

  async function unreadable(digest: Digest, error: unknown): Promise<void> {
    giveUp(digest)
    await removal.setAside(digest, error)
  }

  async function report(file: CheckedFile, isRight: boolean): Promise<void> {
    if (isRight) {
      verified.add(file)
      return
    }
    giveUp(file.digest)
    await removal.quarantine(file.digest)
  }

  /** Whoever reads parts only would never see all of it. */
  function checkLater(file: OpenFile): void {
    const hold = readerOf(file, () => undefined)
    checks = checks
      .then(async () => {
        if (isClosed || !verified.isDue(file)) return
        const hash = await hashOf(file.fd, file.digest, () => isClosed)
        if (hash !== undefined) await report(file, hash === hexOf(file.digest))
      })
      .catch(async (error: unknown) => unreadable(file.digest, error))
      .finally(() => hold.close())
  }

  function readDue(file: OpenFile, plain: Large): Large {
    let hasRead = false
    const due: Large = {
      ...plain,
      read(buffer, position) {
        hasRead = true
        return plain.read(buffer, position)
      },
      close() {
        plain.close()
        if (hasRead && !file.isDropped && verified.isDue(file)) checkLater(file)
      },
    }
    return withCheck(due, (isRight) => void report(file, isRight))
  }

  return {
    read(file) {
      const plain = readerOf(file, (error) => void unreadable(file.digest, error))
      return verified.isDue(file) ? readDue(file, plain) : plain
    },
    verified: report,
    unreadable,
    async close() {
      isClosed = true
      await checks
    },
  }
}
