import FlowOS
import Reader

FlowOS.main(modules: [Reader.self])
