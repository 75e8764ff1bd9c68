import ArgumentParser

public struct ModuleTypesGrammar: Grammar {
  @Argument(help: "Only this kind, with its parameters and counters.")
  public var kind: String?

  public init() {}

  public func request() -> ModuleTypes { ModuleTypes(kind: kind) }
}

public struct ModuleAttachGrammar: ChangeGrammar {
  public static let words = ["pm", "attach"]

  @Argument(help: "The flow's name.")
  public var flow: String

  @Argument(help: "The module's kind; 'pm types' lists them.")
  public var kind: String

  @Argument(help: ArgumentHelp("The module's arguments.", valueName: "key=value"))
  public var arguments: [String] = []

  @Option(help: "The instance's name; the kind where none is given, with a number where that is taken.")
  public var name: String?

  @Option(help: "The stage that the module joins, from 1; a new last one where none is given.")
  public var stage: Int?

  @Flag(help: "Make a new stage for it, in front of that of --stage.")
  public var insert = false

  @Option(help: "How it runs: inline, on the thread of the packets, or thread, on one of its own.")
  public var run: String?

  public init() {}

  public func request() throws(ControlError) -> ModuleAttach {
    let arguments = try keyed(arguments)
    return ModuleAttach(
      flow: flow, kind: kind, arguments: arguments.isEmpty ? nil : arguments, name: name, stage: stage,
      insert: insert ? true : nil, run: run)
  }
}

public struct ModuleDetachGrammar: ChangeGrammar {
  public static let words = ["pm", "detach"]

  @Argument(help: "The flow's name.")
  public var flow: String

  @Argument(help: "The instance's name.")
  public var name: String

  @Flag(help: "Say nothing where there is no such module.")
  public var ifExists = false

  public init() {}

  public func request() -> ModuleDetach { ModuleDetach(flow: flow, name: name, ifExists: ifExists ? true : nil) }
}

public struct ModuleMoveGrammar: ChangeGrammar {
  public static let words = ["pm", "move"]

  @Argument(help: "The flow's name.")
  public var flow: String

  @Argument(help: "The instance's name.")
  public var name: String

  @Option(help: "The stage that it joins, as they are numbered now; one more than there are makes a new last one.")
  public var stage: Int

  @Flag(help: "Make a new stage for it, in front of that of --stage.")
  public var insert = false

  public init() {}

  public func request() -> ModuleMove {
    ModuleMove(flow: flow, name: name, stage: stage, insert: insert ? true : nil)
  }
}

public struct ModuleSetGrammar: ChangeGrammar {
  public static let words = ["pm", "set"]

  @Argument(help: "The flow's name.")
  public var flow: String

  @Argument(help: "The instance's name.")
  public var name: String

  @Argument(help: ArgumentHelp("The arguments that change; the others stay.", valueName: "key=value"))
  public var arguments: [String]

  public init() {}

  public func request() throws(ControlError) -> ModuleSet {
    ModuleSet(flow: flow, name: name, arguments: try keyed(arguments))
  }
}

public struct ModuleListGrammar: Grammar {
  @Argument(help: "Only this flow's.")
  public var flow: String?

  public init() {}

  public func request() -> ModuleList { ModuleList(flow: flow) }
}

/// `KEY=VALUE` words by their keys; the first `=` separates.
private func keyed(_ words: [String]) throws(ControlError) -> [String: String] {
  var arguments: [String: String] = [:]
  for word in words {
    guard let separator = word.firstIndex(of: "="), separator > word.startIndex else {
      throw ControlError(.usage, "'\(word)' is not KEY=VALUE", mend: "write for example 'from=old'")
    }
    let key = String(word[..<separator])
    guard arguments.updateValue(String(word[word.index(after: separator)...]), forKey: key) == nil else {
      throw ControlError(.usage, "parameter '\(key)' is given twice", mend: "give it once")
    }
  }
  return arguments
}
