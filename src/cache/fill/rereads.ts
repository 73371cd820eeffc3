// Parts of a growing file that have left memory, read again: once for all readers who are at the same place, and kept as
// long as one of them sends it.
import { readSync } from 'node:fs'
import type { Loan } from '../cache.ts'
import { checked } from '../disk/open-file.ts'
import { giveStageBuffer, stageBytes, takeStageBuffer } from './stages.ts'

interface Part {
  buffer: Buffer
  start: number
  /** Offset behind its last byte. */
  end: number
  loans: number
}

/** @param fd what is read from there has been written recently, and is in the page cache */
export function createRereads(fd: number) {
  const parts = new Set<Part>()

  function partAt(position: number, limit: number): Part {
    for (const part of parts) if (position >= part.start && position < part.end) return part
    const buffer = takeStageBuffer()
    // Whoever began at another offset is at the same place as the others from the next part on.
    const length = Math.min(limit - position, stageBytes - (position % stageBytes))
    try {
      const end = position + checked(readSync(fd, buffer, 0, length, position))
      const part = { buffer, start: position, end, loans: 0 }
      parts.add(part)
      return part
    } catch (error) {
      giveStageBuffer(buffer)
      throw error
    }
  }

  /** @param limit offset behind what may be read */
  return (position: number, limit: number): Loan => {
    const part = partAt(position, limit)
    const { buffer, start, end } = part
    part.loans += 1
    return {
      bytes: buffer.subarray(position - start, Math.min(end, limit) - start),
      giveBack() {
        part.loans -= 1
        if (part.loans > 0) return
        parts.delete(part)
        giveStageBuffer(buffer)
      },
    }
  }
}
