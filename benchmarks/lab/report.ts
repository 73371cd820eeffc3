// From figures to a table: ours, the peer's, the ratio, and what it should be.
import { formatTable } from '../../src/cli/output/table.ts'
import { median, type Series } from './rounds.ts'
import { runInScope, type Scope } from '../../test/e2e/lab/scope.ts'

export interface Row {
  work: string
  unit: string
  ours: number
  peer: string
  theirs: number
  /** Ours divided by theirs. */
  ratio: number
  /** The lowest and the highest ratio of a round. */
  range: readonly [number, number]
  /** The highest ratio that is wanted; undefined where there is only something to be seen. */
  target: number | undefined
}

/** Compares the first server of the series with each other one, by the ratio of every round. */
export function compare(
  series: Series,
  {
    work,
    unit,
    scale = 1,
    targets,
  }: {
    work: string
    unit: string
    /** What figures are multiplied with to be in `unit`. */
    scale?: number
    /** The highest ratios that are wanted, peer by peer. */
    targets: readonly (number | undefined)[]
  },
): Row[] {
  const [[, ours] = [undefined, []], ...peers] = [...series]
  return peers.map(([{ name }, theirs], index) => {
    const ratios = theirs.map((figure, round) => (ours[round] ?? NaN) / figure)
    return {
      work,
      unit,
      ours: median(ours) * scale,
      peer: name,
      theirs: median(theirs) * scale,
      ratio: median(ratios),
      range: [Math.min(...ratios), Math.max(...ratios)],
      target: targets[index],
    }
  })
}

/** A row of two single figures. */
export function beside(row: Omit<Row, 'ratio' | 'range'>): Row {
  const ratio = row.ours / row.theirs
  return { ...row, ratio, range: [ratio, ratio] }
}

export function formatRows(rows: readonly Row[]): string {
  return formatTable(
    [
      { title: 'work' },
      { title: 'ours', right: true },
      { title: "peer's", right: true },
      { title: 'unit' },
      { title: 'peer' },
      { title: 'ratio', right: true },
      { title: 'of rounds' },
      { title: 'target' },
      { title: '' },
    ],
    rows.map(({ work, ours, theirs, unit, peer, ratio, range, target }) => [
      work,
      figure(ours),
      figure(theirs),
      unit,
      peer,
      `${figure(ratio)}x`,
      range.map(figure).join('-'),
      target === undefined ? '' : `<= ${figure(target)}x`,
      target === undefined ? '' : ratio <= target ? 'ok' : 'missed',
    ]),
  )
}

/**
 * Runs one benchmark and reports its rows: to the process that has started it for that, otherwise
 * as a table.
 */
export async function benchmark(run: (scope: Scope) => Promise<Row[]>): Promise<void> {
  await runInScope(async (scope) => {
    const rows = await run(scope)
    if (process.send === undefined) process.stdout.write(formatRows(rows))
    else process.send(rows)
  })
  process.disconnect?.()
}

function figure(value: number): string {
  if (value >= 100) return value.toFixed(0)
  return value >= 10 ? value.toFixed(1) : value.toPrecision(value >= 1 ? 3 : 2)
}
