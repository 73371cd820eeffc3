// Writes down what the index learns of links, tags and pins, so that another index can be made of it.
import type { Digest } from '../../../oci/digest.ts'
import type { Place } from '../../../oci/place.ts'
import type { PinOwner, Reference } from '../image-queries.ts'
import type { Entry, Journal } from './journal.ts'

/** Checks of a tag that are closer than this are one, ms. */
const tagStep = 60_000

/** What of an index concerns the journal. */
interface Journaled {
  addLink: (place: Place, digest: Digest, kind: 'manifest' | 'blob') => boolean
  dropLink: (place: Place, digest: Digest) => void
  tag: (place: Place, name: string) => { digest: Digest; checkedAt: number } | undefined
  setTag: (place: Place, name: string, digest: Digest, checkedAt?: number) => void
  dropTag: (place: Place, name: string) => void
  pin: (name: Reference, owner: PinOwner) => void
  unpin: (name: Reference, owner: PinOwner) => void
  transaction: (work: () => void) => void
  sync: () => Promise<boolean>
  close: () => void
  isVolatile: boolean
}

/** The index, with what it commits put into the journal; nothing that is undone gets there. */
export function withJournal<Index extends Journaled>(index: Index, journal: Journal): Index {
  let uncommitted: Entry[] | undefined
  const add = (entry: Entry): void => {
    if (uncommitted === undefined) journal.add(entry)
    else uncommitted.push(entry)
  }

  const journaled: Omit<Journaled, 'tag' | 'isVolatile'> = {
    addLink(place, digest, kind) {
      const isNew = index.addLink(place, digest, kind)
      if (isNew) add(['link', place.upstream, place.repository, digest, kind])
      return isNew
    },
    dropLink(place, digest) {
      index.dropLink(place, digest)
      add(['unlink', place.upstream, place.repository, digest])
    },
    setTag(place, name, digest, checkedAt = Date.now()) {
      const before = index.tag(place, name)
      index.setTag(place, name, digest, checkedAt)
      const isSame = before?.digest === digest && stepOf(before.checkedAt) === stepOf(checkedAt)
      if (!isSame) add(['tag', place.upstream, place.repository, name, digest, checkedAt])
    },
    dropTag(place, name) {
      index.dropTag(place, name)
      add(['untag', place.upstream, place.repository, name])
    },
    pin(name, owner) {
      index.pin(name, owner)
      add(['pin', name.upstream, name.repository, name.reference, owner])
    },
    unpin(name, owner) {
      index.unpin(name, owner)
      add(['unpin', name.upstream, name.repository, name.reference, owner])
    },
    transaction(work) {
      const entries: Entry[] = []
      uncommitted = entries
      try {
        index.transaction(work)
      } finally {
        uncommitted = undefined
      }
      entries.forEach(journal.add)
    },
    async sync() {
      const [isDone] = await Promise.all([index.sync(), journal.flush()])
      return isDone
    },
    close() {
      try {
        journal.flushNow()
      } catch (error) {
        // Then what it knows is lost with it.
        if (!index.isVolatile) throw error
      } finally {
        index.close()
      }
    },
  }
  return { ...index, ...journaled }
}

function stepOf(time: number): number {
  return Math.floor(time / tagStep)
}
