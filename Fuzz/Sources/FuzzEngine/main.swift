import CFuzzer
import Glibc

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
let status = LLVMFuzzerRunDriver(&count, &arguments) { data, size in
  var world = World(Tape(UnsafeBufferPointer(start: data, count: size)))
  world.play()
  return 0
}
exit(status)
