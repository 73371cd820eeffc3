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
  close: () => Promise<void>
}

/** @param giveUp nobody is to get this file any more */
export function createFileReaders(
  verified: VerifiedFiles,
  removal: Removal,
  giveUp: (digest: Digest) => void,
): FileReaders {
  /** Checks that no client waits for, one after the other. */
  let checks = Promise.resolve()
  let isClosed = false

  function setAside({ digest }: OpenFile, error: unknown): void {
    giveUp(digest)
    void removal.setAside(digest, error)
  }

  function report(file: OpenFile, isRight: boolean): void {
    if (isRight) {
      verified.add(file)
      return
    }
    giveUp(file.digest)
    void removal.quarantine(file.digest)
  }

  /** Whoever reads parts only would never see all of it. */
  function checkLater(file: OpenFile): void {
    const hold = readerOf(file, () => undefined)
    checks = checks
      .then(async () => {
        if (isClosed || !verified.isDue(file)) return
        const hash = await hashOf(file.fd, file.digest, () => isClosed)
        if (hash !== undefined) report(file, hash === hexOf(file.digest))
      })
      .catch((error: unknown) => setAside(file, error))
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
    return withCheck(due, (isRight) => report(file, isRight))
  }

  return {
    read(file) {
      const plain = readerOf(file, (error) => setAside(file, error))
      return verified.isDue(file) ? readDue(file, plain) : plain
    },
    async close() {
      isClosed = true
      await checks
    },
  }
}
