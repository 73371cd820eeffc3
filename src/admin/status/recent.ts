// Remembers what happened last of what an operator looks for: who was refused, what was reloaded.

/** Of each sort so many are remembered. */
const most = 50

export interface Recent<Happening> {
  note: (happening: Happening) => void
  /** The newest first. */
  all: () => readonly (Happening & { at: number })[]
}

/** `at` of what is remembered: ms since 1970. */
export function createRecent<Happening extends object>(now = Date.now): Recent<Happening> {
  const kept: (Happening & { at: number })[] = []
  return {
    note(happening) {
      kept.push({ ...happening, at: now() })
      if (kept.length > most) kept.shift()
    },
    all: () => kept.toReversed(),
  }
}
