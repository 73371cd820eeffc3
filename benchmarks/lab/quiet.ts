// Whether anybody else works on this machine: a busy loop takes longer than the CPU that it gets. And what the host of
// a virtual machine has to do with a figure.
import { spawnSync } from 'node:child_process'
import { freemem } from 'node:os'

/** What others take of a core while this runs: 0 for nothing, 1 where a loop takes twice its CPU time. */
export function disturbance(): number {
  const before = process.cpuUsage()
  const began = performance.now()
  let x = 1
  for (let n = 0; n < 60_000_000; n += 1) x = (x * 1_103_515_245 + 12_345) | 0
  const passed = performance.now() - began
  const { user, system } = process.cpuUsage(before)
  // The sum is used, so that the loop is not optimised away.
  return x === 0 ? 0 : Math.max(0, passed / ((user + system) / 1000) - 1)
}

/** From here on figures of time say little, and those of CPU less than they should. */
export const mostDisturbance = 0.15

/**
 * Uses so much memory for a moment, at most half of what is free. What the host has not given yet, or has taken back,
 * costs 2 to 3 us of system time a page: that is up to 0.7 CPU s/GiB for whoever happens to write files into it.
 */
export function touchMemory(bytes: number): void {
  const part = 2 ** 26
  const parts = Math.floor(Math.min(bytes, freemem() / 2) / part)
  const script = `const held = []; for (let n = 0; n < ${parts}; n += 1) held.push(Buffer.alloc(${part}, 1))`
  spawnSync(process.execPath, ['-e', script])
}
