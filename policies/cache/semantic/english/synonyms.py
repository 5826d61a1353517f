"""Words and phrases that may stand for each other in a question: between two strokes the first stands for all."""

_CLUSTERS = """
pronounce pronunciation /
enable activate turn_on switch_on / disable deactivate turn_off switch_off / set_up setup / shut_down shutdown
power_off / log_in login sign_in signin log_on / log_out logout sign_out signout log_off / register sign_up signup
enrol create_an_account open_an_account / backup back_up make_a_backup take_a_backup create_a_backup / restore
bring_back / undo revert roll_back take_back / delete remove erase get_rid_of drop / keep retain preserve / lose
losing / cancel call_off / end terminate / start begin commence kick_off launch / stop halt quit cease / restart
reboot / fix repair solve resolve troubleshoot / broken damaged defective faulty / buy purchase / cost price
charge_for / cheap inexpensive affordable / expensive costly pricey / fast quick rapid speedy / slow sluggish / easy
simple straightforward effortless / hard difficult tough tricky / large big huge / small little tiny / long lengthy /
dangerous unsafe hazardous / safe harmless / legal lawful permitted_by_law / illegal unlawful against_the_law / allow
permit let / allowed permitted / forbid prohibit ban / block reject deny / open unblock / need require must_have
necessary_for / needed required necessary / want wish would_like / show display list / find locate look_up search_for
look_for / check verify validate / create make generate build produce / write draft compose / change modify alter edit
/ increase raise boost / decrease reduce lower cut / rise go_up grow / fall go_down / calculate compute work_out
figure_out / convert transform turn_into / explain describe / summarise sum_up recap condense / choose select pick /
get obtain receive / give provide / send transmit mail_out / return send_back give_back / refund reimburse money_back
reimbursement / replace exchange substitute / join combine concatenate / split divide_into / sort order_by arrange /
ascending low_to_high smallest_to_largest lowest_to_highest increasing small_to_large least_to_greatest / descending
high_to_low largest_to_smallest highest_to_lowest decreasing large_to_small greatest_to_least / reverse flip
back_to_front / track follow_up_on / arrive get_here get_there / leave depart / travel go_to / flight plane_ticket
air_ticket / book reserve / reservation booking / trip journey / vacation holiday / car automobile / bike bicycle
cycle / phone telephone cellphone smartphone / movie film / picture image photo photograph / doctor physician /
medicine medication drug / dose dosage / illness disease sickness / sick ill unwell / child kid / baby infant / adult
grown_up / pregnant expecting / job occupation / employee worker staff_member / salary pay wage / company firm
business / customer client / holiday_leave annual_leave / population number_of_people inhabitants
number_of_inhabitants / citizen national / nationals citizens / law legislation statute / lawyer attorney solicitor /
rule regulation / mistake error / bug defect / problem issue trouble / answer reply respond / question query /
information info details / help assist / use utilise make_use_of / package parcel / shipping shipment / password
passcode pass_word / username user_name / email e_mail mail / folder directory / repository repo / database db /
javascript js / typescript ts / kubernetes k8s / postgresql postgres / method way / dictionary hashmap hash_map /
regex regular_expression regexp / integer whole_number / sum total / percent percentage per_cent / discount
price_reduction / installment repayment / monthly per_month each_month every_month / yearly annual per_year each_year
every_year annually / daily per_day each_day every_day / weekly per_week each_week every_week / hourly per_hour
each_hour every_hour / profit net_income / revenue turnover / headcount number_of_employees / weather forecast / today
this_day / tonight this_evening / now right_now at_the_moment at_present currently / soon shortly / often frequently /
rarely seldom / usually normally typically / about concerning regarding / maximum max highest_possible / minimum min
lowest_possible / average mean / best top / good great / bad poor / important essential crucial / beautiful pretty /
happy glad / sad unhappy / angry mad / tired exhausted / smart intelligent clever / stupid dumb / rich wealthy / old
elderly / correct right / wrong incorrect / same identical / different distinct / similar alike / advantage benefit
pro upside / disadvantage drawback con downside / reason cause / result outcome / goal objective aim / example
instance / mean_by signify / recommend suggest advise / recommended suggested / advice recommendation suggestion /
opinion view / include contain / exclude leave_out omit / without lacking / ignore skip / latest newest most_recent /
changes edits / encrypt encipher / decrypt decipher / compress zip / extract unzip / save store / copy duplicate /
connect link / disconnect unlink / unsubscribe opt_out / renew extend / expire run_out / invoice bill / withdraw
take_out / late overdue / delay delayed / polite courteous / informal casual / short brief concise / detailed in_depth
thorough / cook prepare / exercise workout / lose_weight slim_down / learn study / student pupil / university college
/ exam test / city town / country nation / ocean sea / capital capital_city / die pass_away / house home / apartment
flat / tenant renter / landlord property_owner / garbage trash rubbish waste / dark_mode dark_theme night_mode
dark_appearance / light_mode light_theme / computer pc / laptop notebook / website site web_page webpage /
notification alert / setting preference configuration / wifi wi_fi wireless / two_factor 2fa two_step mfa multi_factor
/ authentication verification / speak talk / understand comprehend / try attempt / finish complete / happen occur
take_place / live reside / stay remain / dog puppy / cat kitten / food meal / dinner supper / gift present / mother
mom mum / father dad / man guy / woman lady / person individual / people folks / someone somebody / everyone everybody
/ nobody no_one / anyone anybody / story tale / math maths mathematics / schedule timetable / deadline due_date /
symptom sign_of / treatment remedy / pain ache / vaccine vaccination / heal recover / surgery operation / pharmacy
drugstore chemist / pill tablet / side_effect adverse_effect / atm cash_machine cashpoint / verify_identity
prove_identity / top_up topup / pin_code pin / stolen robbed / missing lost / go_wrong went_wrong / abroad overseas /
foreign_currency other_currency / free free_of_charge at_no_cost gratis / fee surcharge extra_charge / enough
sufficient / approve accept / purchase_order po / as_soon_as_possible asap urgently immediately / frequently_asked faq
/ vegan plant_based / physician_visit doctor_visit / roughly approximately around_about / stomach_ache stomachache /
high_blood_pressure hypertension / heart_attack cardiac_arrest / sore_throat throat_pain / square_meter sqm /
miles_per_hour mph / kilometers_per_hour kmh / artificial_intelligence ai / machine_learning ml / user_interface ui /
operating_system os / environment_variable env_var env / pull_request pr / merge_request mr / command_line cli
terminal shell / stack_trace traceback / null none_value / unit_test unittest / virtual_machine vm / load_balancer lb
/ continuous_integration ci / human_resources hr / paid_time_off pto / curriculum_vitae cv resume / social_security
ssn / value_added_tax vat / terms_and_conditions t_and_c / non_disclosure_agreement nda / chief_executive_officer ceo
chief_executive / gross_domestic_product gdp / return_on_investment roi / initial_public_offering ipo /
key_performance_indicator kpi / uninstall remove_the_app / drive operate / fridge refrigerator / sofa couch / tv
television / lift elevator / petrol gasoline / pavement sidewalk / luggage baggage / queue waiting_line / postcode
zip_code postal_code / football soccer / trousers pants / aeroplane airplane plane aircraft / autumn fall_season /
biscuit cookie / crisps chips / motorway highway freeway / pricing_plan subscription_plan / settings_menu
preferences_menu / dashboard control_panel / forgot forgotten / locked_out unable_to_log_in / tell_apart distinguish /
difference distinction / happen_to become_of / need_to must have_to got_to / able_to can / allowed_to can / convert_to
turn_into change_into / equal amount_to come_to / made_of consist_of composed_of / invent come_up_with / tallest
highest / biggest largest / smallest littlest / pass_away die / get_married marry wed / look_like
resemble / deal_with handle / carry_out perform / put_off postpone delay_until / give_up quit / set_aside reserve /
speed_up accelerate make_faster / slow_down decelerate / free_up release / clean_up tidy_up tidy / wipe erase
"""

# What only says that, and how, something is asked. Several words stand together with `_`.
FRAMES = """
tell_me tell_us let_me_know show_me give_me i_would_like_to_know i_want_to_know do_you_know could_you_tell_me
can_you_tell_me would_you_tell_me can_you_explain could_you_explain please_explain explain_to_me explain_how
i_need_to_know i_am_wondering i_wonder i_was_wondering any_idea do_you_have_any_idea what_is_meant_by
can_you_help_me_with could_you_help_me_with can_you_help_me help_me_to help_me i_need_help_with i_need_help
i_would_like_to
i_would_like i_want_to i_need_to i_am_trying_to i_am_looking_for i_am_looking_to find_out i_have_a_question_about
the_answer_to answer_this is_it_true_that which_is_true what_is_true i_need_a i_need_an i_need
i_do_not_know i_am_not_sure i_do_not_understand i_have_no_idea not_sure no_idea
you_can_tell_me could_you_show_me can_you_show_me can_you_give_me could_you_give_me would_you_mind
""".split()  # noqa: SIM905 - words, to be read as such

# Ways to ask how something is done.
HOW_FRAMES = """
how_do_i how_can_i how_do_you how_can_you how_do_we how_can_we how_to how_should_i how_could_i how_would_i how_would_you
how_does_one how_can_one how_do_people how_am_i_able_to how_might_i
what_is_the_way_to what_is_the_best_way_to what_is_a_good_way_to what_is_the_easiest_way_to what_are_the_ways_to
what_are_the_steps_to what_steps_do_i_take_to what_is_the_procedure_to what_is_the_process_to what_is_the_method_to
what_is_the_way_of what_is_the_best_way_of best_way_to way_to steps_to is_there_a_way_to is_there_any_way_to
is_there_way_to what_is_way_to what_is_best_way_to what_is_the_right_way_to what_is_the_correct_way_to
what_do_i_have_to_do_to what_do_i_need_to_do_to what_should_i_do_to what_must_i_do_to which_steps_do_i_take_to
which_are_the_steps_to what_are_steps_to where_do_i where_can_i walk_me_through teach_me_to teach_me_how_to
show_me_how_to
tell_me_how_to explain_how_to instructions_for instructions_to guide_me_through i_want_to_know_how_to
""".split()  # noqa: SIM905 - words, to be read as such


def _concepts() -> dict[tuple[str, ...], str]:
    found: dict[tuple[str, ...], str] = {}
    for cluster in _CLUSTERS.split("/"):
        members = cluster.split()
        for member in members:
            words = tuple(member.split("_"))
            if len(members) > 1 or len(words) > 1:
                found.setdefault(words, members[0])
    return found


CONCEPTS = _concepts()
"""From the words of a member to what stands for it."""
