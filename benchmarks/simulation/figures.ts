// What the model is fed with: figures that `node benchmarks/simulation/measure.ts` takes from real runs.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The median of some rounds, and the lowest and the highest of them. */
export interface Figure {
  median: number
  low: number
  high: number
}

export interface Figures {
  machine: {
    date: string
    node: string
    processor: string
    cores: number
    /** What others took of a core meanwhile: 1 where a loop needed twice its CPU time. */
    disturbance: number
  }
  /** CPU seconds of one gateway. */
  gateway: {
    /** For each connection, with certificates on both sides. */
    handshake: Figure
    /** For each small answer from memory. */
    request: Figure
    /** For each content that has to be fetched, beside its bytes: a small one, and one of a MiB or more. */
    coldObject: Figure
    coldBlob: Figure
    /** For each byte: sent from the disk; sent while it comes; fetched, verified, stored, and sent once. */
    warm: Figure
    follow: Figure
    cold: Figure
    /** For each second in which nothing is asked of it. */
    idle: Figure
    /** Bytes that the process had in memory at most. */
    memory: Figure
    /** Bytes more of it for each transfer under way. */
    transferMemory: Figure
  }
  /** CPU seconds of those around it in the measured runs: for each request, and for each byte. */
  client: Costs
  balancer: Costs
  origin: Costs
  /** Bytes a second onto the disk, synced. */
  disk: Figure
  store: StoreRequests
}

export interface Costs {
  request: Figure
  byte: Figure
}

/** Requests to a store that three replicas share, for one image of `objects` contents. */
export interface StoreRequests {
  objects: number
  /** By method: the image is new to all, is pulled through one replica, then through the others. */
  first: Record<string, number>
  others: Record<string, number>
  /** All disks are empty, and there is no upstream: through one replica, then through the others. */
  restored: Record<string, number>
  restoredByOthers: Record<string, number>
}

const file = join(import.meta.dirname, 'figures.json')

export function readFigures(): Figures {
  return JSON.parse(readFileSync(file, 'utf8')) as Figures
}

export function writeFigures(figures: Figures): void {
  writeFileSync(file, `${JSON.stringify(figures, undefined, 2)}\n`)
}
