// Tells systemd how far the gateway is, by sd_notify(3). Node has no sockets for datagrams within a
// machine, and whoever runs the gateway with NOTIFY_SOCKET has `systemd-notify`.
import { execFile } from 'node:child_process'
import type { Logger } from 'pino'

export interface ServiceManager {
  /** Clients are served from now on; `status` is shown by `systemctl status`. */
  ready: (status: string) => void
  /** Ends the beats of the watchdog too: what is stuck then is cut by the time limit of the stop. */
  stopping: () => void
}

/** Does nothing where no service manager has started this process. */
export function serviceManager(
  log: Pick<Logger, 'warn'>,
  env: NodeJS.ProcessEnv = process.env,
): ServiceManager {
  if (env['NOTIFY_SOCKET'] === undefined) return { ready: () => {}, stopping: () => {} }
  const beatMs = watchdogMs(env) / 2
  let beats: NodeJS.Timeout | undefined

  function tell(...messages: string[]): void {
    execFile('systemd-notify', messages, { env, timeout: 10_000 }, (error) => {
      if (error !== null) log.warn({ err: error }, 'systemd could not be told: see systemd-notify')
    })
  }

  return {
    ready(status) {
      tell('READY=1', `STATUS=${status}`)
      // A timer that is late is what the watchdog is for.
      if (beatMs > 0) beats = setInterval(() => tell('WATCHDOG=1'), beatMs).unref()
    },
    stopping() {
      clearInterval(beats)
      tell('STOPPING=1')
    },
  }
}

/** How long systemd waits for the next beat; 0: it does not. */
function watchdogMs({ WATCHDOG_USEC: limit, WATCHDOG_PID: pid }: NodeJS.ProcessEnv): number {
  if (pid !== undefined && Number(pid) !== process.pid) return 0
  return Number(limit ?? 0) / 1000
}
