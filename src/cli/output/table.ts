// Tables for a terminal: columns as wide as their widest cell, two spaces between them.

export interface Column {
  title: string
  /** Numbers stand on the right. */
  right?: boolean
}

/** Lines with the titles first, each ended by a line feed; widths count characters without colour. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const lines = [columns.map(({ title }) => title), ...rows]
  const widths = columns.map((_, index) =>
    Math.max(...lines.map((cells) => widthOf(cells[index] ?? ''))),
  )
  return lines
    .map((cells) =>
      columns
        .map(({ right }, index) => pad(cells[index] ?? '', widths[index] ?? 0, right === true))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('')
}

function pad(cell: string, width: number, right: boolean): string {
  const space = ' '.repeat(width - widthOf(cell))
  return right ? space + cell : cell + space
}

function widthOf(cell: string): number {
  // eslint-disable-next-line no-control-regex
  return cell.replaceAll(/\u001b\[[0-9;]*m/g, '').length
}
