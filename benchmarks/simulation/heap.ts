// A binary heap: what comes first by a number, and by the order of arrival where numbers are equal.

export interface Heap<Item> {
  push: (at: number, item: Item) => void
  /** What comes first, left where it is. */
  first: () => { at: number; item: Item } | undefined
  pop: () => { at: number; item: Item } | undefined
  size: () => number
}

interface Entry<Item> {
  at: number
  turn: number
  item: Item
}

export function createHeap<Item>(): Heap<Item> {
  const entries: Entry<Item>[] = []
  let turn = 0

  function isBefore(a: number, b: number): boolean {
    const [one, other] = [entries[a], entries[b]]
    if (one === undefined || other === undefined) return one !== undefined
    return one.at < other.at || (one.at === other.at && one.turn < other.turn)
  }

  function swap(a: number, b: number): void {
    const [one, other] = [entries[a], entries[b]]
    if (one === undefined || other === undefined) return
    entries[a] = other
    entries[b] = one
  }

  function push(at: number, item: Item): void {
    entries.push({ at, turn: (turn += 1), item })
    for (let child = entries.length - 1; child > 0;) {
      const parent = (child - 1) >> 1
      if (!isBefore(child, parent)) return
      swap(child, parent)
      child = parent
    }
  }

  function pop(): Entry<Item> | undefined {
    swap(0, entries.length - 1)
    const taken = entries.pop()
    for (let parent = 0; ;) {
      const [left, right] = [2 * parent + 1, 2 * parent + 2]
      const least = isBefore(right, left) ? right : left
      if (!isBefore(least, parent)) return taken
      swap(least, parent)
      parent = least
    }
  }

  return { push, pop, first: () => entries[0], size: () => entries.length }
}
