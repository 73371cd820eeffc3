// Whether anybody else works on this machine: a busy loop takes longer than the CPU that it gets.

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
