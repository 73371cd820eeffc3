// What supervisor and worker tell each other.
import type { CrewState } from '../../admin/workers/crew.ts'
import type { TeamMember } from '../../team.ts'

/** The variable that tells a process that it is a worker, and which; as JSON. */
export const workerVariable = 'PORTCULLIS_WORKER'

export interface WorkerFacts extends Omit<TeamMember, 'crew'> {
  /** The ports that all of them listen on, whatever the config says. */
  port: number
  adminPort?: number | undefined
}

export type FromWorker =
  /** It serves; `prefix` is what its temporary files begin with. */
  | { kind: 'ready'; port: number; adminPort: number; prefix: string }
  /** It is not stuck. */
  | { kind: 'alive' }

export type ToWorker =
  | { kind: 'reload' }
  /** How all of them fare, whenever that changes. */
  | { kind: 'crew'; state: CrewState }
  /** In order; `signal` says why. */
  | { kind: 'end'; signal: NodeJS.Signals }
