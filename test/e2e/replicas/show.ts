// Prints what came of pulls through replicas: a line for each thing that has to be so.
import type { ReplicaOptions, ReplicaOutcome } from '../replicas.ts'

interface Line {
  what: string
  figure: string
  isSo: boolean
  /** What is not as it should be. */
  wrong?: readonly string[]
}

/** Whether all of it is as it has to be. */
export function printShow(outcome: ReplicaOutcome, options: ReplicaOptions): boolean {
  const lines = [
    ...pullLines(outcome),
    ...engineLines(outcome),
    ...fetchLines(outcome),
    ...storeLines(outcome, options),
  ]
  const width = Math.max(...lines.map(({ what }) => what.length))
  const figures = Math.max(...lines.map(({ figure }) => figure.length))
  for (const { what, figure, isSo } of lines) {
    console.log(`${what.padEnd(width)}  ${figure.padStart(figures)}  ${isSo ? 'pass' : 'FAIL'}`)
  }
  for (const { what, wrong = [] } of lines) {
    for (const one of wrong.slice(0, 10)) console.log(`${what}: ${one}`)
  }
  return lines.every(({ isSo }) => isSo)
}

function pullLines({ pulls, kills, again, failures, wrong }: ReplicaOutcome): Line[] {
  const about = `${failures.length} of ${pulls + failures.length + wrong.length}`
  const retried = `${kills.length} kills, ${again} requests made again`
  return [
    {
      what: `failed pulls (${retried})`,
      figure: about,
      isSo: pulls > 0 && failures.length === 0,
      wrong: failures,
    },
    { what: 'wrong bytes', figure: String(wrong.length), isSo: wrong.length === 0, wrong },
  ]
}

function engineLines({ engines }: ReplicaOutcome): Line[] {
  if (engines === undefined) return []
  const { pulls, again, failures } = engines
  const figure = [...pulls].map(([name, count]) => `${name} ${count}`).join(', ')
  const isSo = pulls.size === 3 && failures.length === 0
  const what = `pulls of engines, all right (${again} begun again)`
  return [{ what, figure, isSo, wrong: failures }]
}

function fetchLines({ fetches, digests }: ReplicaOutcome): Line[] {
  const { repeated, interrupted, alone } = fetches
  const excused = `${interrupted} that a killed one was fetching, ${alone} that it alone had`
  const what = `digests fetched more than once upstream (beside ${excused})`
  const figure = `${repeated.length} of ${digests}`
  return [{ what, figure, isSo: repeated.length === 0, wrong: repeated }]
}

function storeLines({ store, digests }: ReplicaOutcome, { images }: ReplicaOptions): Line[] {
  if (store === undefined) return []
  const { missing, isMended, newcomer } = store
  const failed = [...newcomer.failures, ...newcomer.wrong]
  return [
    {
      what: 'in the store at the end',
      figure: `${digests - missing.length} of ${digests}`,
      isSo: missing.length === 0,
      wrong: missing,
    },
    {
      what: 'a damaged object',
      figure: isMended ? 'set aside, written anew' : 'not mended',
      isSo: isMended,
    },
    {
      what: 'images from the store alone',
      figure: `${newcomer.pulls} of ${images}`,
      isSo: newcomer.pulls === images,
      wrong: failed,
    },
  ]
}
