// What a program outside of a test has started and made, ended with it in reverse order.

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

/** What `work` starts ends with it. */
export async function withScope<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  const scope = createScope()
  try {
    return await work(scope)
  } finally {
    await scope.end()
  }
}

/** The same where nothing is around it: also when the program is interrupted. */
export async function runInScope<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  return withScope(async (scope) => {
    const interrupted = () => void scope.end().finally(() => process.exit(1))
    process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
    try {
      return await work(scope)
    } finally {
      process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
    }
  })
}
