import Engine
import FoundationEssentials

extension Monitor {
  public func perform(on controller: Controller) throws(ControlError) -> Reply {
    if let flow { _ = try controller.state.index(of: flow) }
    if let types, types.isEmpty || types.contains("") {
      throw ControlError(.usage, "a type of events is empty", mend: "name types, joined by commas, or none for all")
    }
    // Before the reply leaves: what happens when the client has it must not be missed.
    controller.dataPlane.events.isWanted = true
    return Reply(monitoring: true)
  }

  /// Whether it asks for `event`.
  func asksFor(_ event: EventDescription) -> Bool {
    (flow == nil || flow == event.flow) && (types?.contains(event.event) ?? true)
  }
}

extension Controller {
  /// The events that have come since the last time, as clients see them, and how many were lost.
  func takeEvents() -> (events: [EventDescription], lost: Int) {
    let batch = dataPlane.events.collect()
    guard !batch.events.isEmpty else { return ([], batch.lost) }
    let attached = state.attached
    let (now, date) = (dataPlane.events.now, Date.now)
    let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
    let events = batch.events.map { event in
      EventDescription(
        time: date.addingTimeInterval(Double(event.time - now) / 1e9).formatted(style),
        flow: attached[event.module]?.flow, module: attached[event.module]?.name,
        connection: event.connection == 0 ? nil : event.connection, event: event.content.name,
        fields: event.content.fields)
    }
    return (events, batch.lost)
  }
}
