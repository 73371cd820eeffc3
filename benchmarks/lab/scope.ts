// What a benchmark has started and made, ended with it in reverse order, also when it is interrupted.

export interface Scope {
  /** Runs `undo` at the end; later ones first. */
  teardown: (undo: () => unknown) => void
  end: () => Promise<void>
}

export function createScope(): Scope {
  const undoings: (() => unknown)[] = []
  return {
    teardown: (undo) => void undoings.unshift(undo),
    async end() {
      for (const undo of undoings.splice(0)) await undo()
    },
  }
}
